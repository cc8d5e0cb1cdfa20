"""What the README says is run: its Python as it stands, its commands as far as they can be without the data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from batchot.training.recipes import load_any_recipe
from batchot.training.settings import recipe_names

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.S)
COMMANDS = [
    line for block in re.findall(r"```console\n(.*?)```", README, flags=re.S) for line in block.splitlines()
]


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) >= 3 and len(COMMANDS) >= 8


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_runs(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


def test_training_commands_name_recipes_and_settings_that_exist() -> None:
    trained = [line.split("#")[0].split() for line in COMMANDS if line.startswith("batchot train")]
    assert len(trained) >= 4
    for words in trained:
        if words[2].startswith("--"):
            continue
        assert words[2] in (*recipe_names(), "folder")
        settings = [word.split("=", 1) for word in words[3:] if "=" in word]
        recipe = "shape-folder" if words[2] == "folder" else words[2]
        load_any_recipe(recipe, [("loss.name" if k == "loss" else k, v) for k, v in settings])


def test_files_named_in_the_readme_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README) + re.findall(r"python (\S+\.py)", README):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(COMMANDS), flags=re.M):
        assert f"\n{target}:" in makefile, target
