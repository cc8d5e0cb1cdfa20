"""The examples of CONTRIBUTING.md run; what it points to exists; all that states the version states the same one."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from pathlib import Path

import pytest
import yaml

from batchot.benchmark.contenders import SPACES
from batchot.cli import COMMANDS, main
from batchot.data.sets import IMAGE_SETS
from batchot.data.sets.by_name import load_dataset
from batchot.models import backbones
from batchot.training import load_recipe
from batchot.training import run as recipe_run
from batchot.training.losses import make_loss
from batchot.training.recipe import LOSSES, LossSettings

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "docs/measures.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_examples_run(code: str) -> None:
    names: dict[str, object] = {}
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    for name, value in names.items():
        if name.startswith("test_"):
            assert callable(value)
            value()


def test_network_loss_and_data_set_of_the_examples_train_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mypkg = types.ModuleType("mypkg")
    for code in PYTHON:
        exec(compile(code, "CONTRIBUTING.md", "exec"), mypkg.__dict__)
    monkeypatch.setitem(sys.modules, "mypkg", mypkg)
    [command] = re.findall(r"batchot train (digits .*?) --out", TEXT.replace("\\\n", " "), flags=re.S)
    words = [word for word in command.split() if "=" in word]
    own = [(k, re.sub(r"mypkg\.\w+:", "mypkg:", v)) for k, v in (word.split("=", 1) for word in words)]
    assert sum(":" in value for _, value in own) == 3
    small = [("epochs", "1"), ("batch.size", "8"), ("model.widths", "[8,4]")]
    run = recipe_run.train(load_recipe("digits", own + small), tmp_path, device="cpu")
    assert run.splits.name == "stripes" and len(run.rows) == 1


def test_a_loss_a_network_a_data_set_and_a_command_of_the_examples_are_one_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    for code in PYTHON:
        exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    [(name, where)] = re.findall(r'`"(pull)": "(.*?)"`', TEXT)
    monkeypatch.setitem(LOSSES, name, where)
    module = types.ModuleType(where.partition(":")[0])
    vars(module)["PullLoss"] = names["PullLoss"]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert type(make_loss(LossSettings(name=name), 2, 4)) is names["PullLoss"]
    [entry] = re.findall(r'`(r"tiny[^`]*)`', TEXT)
    monkeypatch.setattr(backbones, "OURS", {**backbones.OURS, **eval("{" + entry + "}", names)})
    assert backbones.make_backbone("tiny-w4", image_size=8).out_features == 4
    with pytest.raises(ValueError, match="at least 3 x 3"):
        backbones.make_backbone("tiny-w4", image_size=2)
    [(name, where)] = re.findall(r'`"(stripes)": "(.*?)"`', TEXT)
    monkeypatch.setitem(IMAGE_SETS, name, where)
    module = types.ModuleType(where.partition(":")[0])
    vars(module)["load_stripes"] = names["load_stripes"]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert load_dataset(name).name == "stripes"
    module = types.ModuleType("batchot.commands.classes")
    vars(module)["classes"] = names["classes"]
    monkeypatch.setitem(sys.modules, "batchot.commands.classes", module)
    monkeypatch.setitem(COMMANDS, "classes", "classes RUN    print the classes of a run")
    assert main(["classes", str(tmp_path / "none")]) == 1
    assert "has no config.yaml" in capsys.readouterr().err


def test_files_and_names_that_it_points_to_are_there() -> None:
    files = re.findall(r"`((?:src|docs|tests)/[\w./-]+)`", TEXT)
    assert len(files) >= 8
    for file in files:
        assert file == "tests/x/test_y.py" or "/x/" in file or (ROOT / file).exists(), file
    assert "circle" in LOSSES and SPACES and "mnist" in IMAGE_SETS and backbones.OURS and COMMANDS


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == version
    assert cited["license"] == "Apache-2.0"
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("file", [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"], ids=str)
def test_settings_of_the_host_are_yaml(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)


def test_every_python_that_is_promised_is_tested() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"][
        "matrix"
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert matrix["python"] == promised
    assert project["requires-python"] == f">={promised[0]}"
