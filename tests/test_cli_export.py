"""The command export as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchot.cli import main
from batchot.training.recipes import load_recipe
from saved_runs import save_run

pytest.importorskip("onnxscript", reason="needs the extra export")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    overrides = [("model.widths", "[16,8]"), ("model.channels", "[4,8]")]
    return save_run(tmp_path_factory.mktemp("digits") / "run", load_recipe("digits", overrides), (1, 8, 8))


def test_export(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "model.onnx: " in said and "differ by at most" in said and f"exported: {out}" in said
    assert json.loads((out / "batchot.json").read_text())["shape"] is None
    assert main(["export", str(run), "--out", str(out)]) == 1
    assert "add --force" in capsys.readouterr().err
    assert main(["export", str(run), "--out", str(out), "--force", "--format", "safetensors"]) == 0
    assert not (out / "model.onnx").exists() and (out / "model.safetensors").is_file()
    assert main(["index", "build", str(out), str(tmp_path), "--out", str(tmp_path / "index")]) == 1
    assert "was trained on images; an index of shapes needs a run on shapes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "--out", "x"], 1, "nowhere is no run folder"),
        (["nowhere"], 2, "--out"),
        (["nowhere", "--out", "x", "--format", "pickle"], 2, "invalid choice: 'pickle'"),
    ],
)
def test_mistakes(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == status
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
