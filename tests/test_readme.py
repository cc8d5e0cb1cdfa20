"""What README and guides say is run: their Python as it stands, their commands as far as they can be without data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchot.training.recipes import load_recipe
from batchot.training.settings import recipe_names

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = [
    pytest.param(page.name, code, id=f"{page.stem}-{k}")
    for page in PAGES
    for k, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S))
]
COMMANDS = [
    line
    for page in (README, ROOT / "docs/training.md")
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), flags=re.S)
    for line in block.splitlines()
]
# what the reader of a guide has already: his network, a batch of his
GIVEN = {
    "how-it-works.md": """
import torch
from batchot import CrossModalBatchOTLoss
network, images, labels = torch.nn.Linear(4, 3), torch.randn(6, 4), torch.arange(6) % 2
sketches, sketch_labels, shapes, shape_labels = torch.randn(8, 3), torch.arange(8) % 2, torch.randn(6, 3), labels
""",
    "throughput.md": """
import batchot, torch
network, loss = torch.nn.Linear(4, 3), batchot.BatchOTLoss()
images, labels = torch.randn(128, 4), torch.arange(128) % 2
""",
}
# runs, indexes and shards that a reader has made: tests of these make them
FILES_OF_HIS_OWN = ("collections.md", "export.md", "searching.md", "sketches.md")


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_python_runs(page: str, code: str) -> None:
    if page in FILES_OF_HIS_OWN:
        assert compile(code, page, "exec")
    else:
        exec(compile(GIVEN.get(page, "") + code, page, "exec"), {})


def test_training_commands_name_recipes_and_settings_that_exist() -> None:
    trained = [line.split("#")[0].split() for line in COMMANDS if line.startswith("batchot train")]
    assert len(trained) >= 10
    for words in trained:
        if words[2].startswith("--"):
            continue
        assert words[2] in (*recipe_names(), "folder")
        settings = [word.split("=", 1) for word in words[3:] if "=" in word]
        recipe = "shape-folder" if words[2] == "folder" else words[2]
        load_recipe(recipe, [("loss.name" if k == "loss" else k, v) for k, v in settings])


def test_commands_of_the_benchmarks_name_recipes_and_settings_that_exist() -> None:
    commands = re.findall(r"\| `batchot train ([^`]*)` \|", README.read_text())
    assert len(commands) == 6
    for recipe, *settings in map(str.split, commands):
        load_recipe(recipe, [tuple(s.split("=", 1)) for s in settings if "=" in s])  # type: ignore[misc]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", text):
        assert (page.parent / target).exists(), target
    for target in re.findall(r"python ((?:benchmarks|docs)/\S+\.py)", text):
        assert (ROOT / target).exists(), target


def test_make_knows_the_targets_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(COMMANDS), flags=re.M):
        assert f"\n{target}:" in makefile, target


def test_the_readme_is_short_and_its_picture_small() -> None:
    assert len(README.read_text().splitlines()) <= 150
    assert (ROOT / "docs/plan.png").stat().st_size < 200_000


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "docs/plan_picture.py", tmp_path / "plan.png"]
    subprocess.run(command, check=True, env=os.environ | {"MPLBACKEND": "Agg"}, timeout=300)
    assert (tmp_path / "plan.png").stat().st_size > 50_000  # three panels, not blank ones
