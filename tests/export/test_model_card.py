"""What the model card says is so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from batchot.export import export_run
from saved_runs import CLASSES


def test_the_card_says_what_it_is(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    about = json.loads((exported / "batchot.json").read_text())
    for text in (*CLASSES, about["fingerprint"], "float32, n x 64 x 3", "pointnet", "8 numbers"):
        assert text in card
    assert "after epoch 2 (last epoch)" in card and "| mean average precision | 0.4000 |" in card
    assert "license:" not in card, "a licence is not ours to give"


def test_the_code_of_the_card_runs(exported: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    assert code.count("\n") <= 15
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "(1, 8)\n"), done.stderr


def test_the_card_without_onnx_and_of_the_best_epoch(cloud_run: Path, tmp_path: Path) -> None:
    done = export_run(cloud_run, tmp_path / "best", formats=["safetensors"], checkpoint="best")
    card = (done.folder / "README.md").read_text()
    assert "after epoch 1 (epoch of the highest" in card and "| mean average precision | 0.5000 |" in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    done_code = subprocess.run(
        [sys.executable, "-c", code + "print(embeddings.shape)"],
        cwd=done.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done_code.returncode, done_code.stdout) == (0, "torch.Size([1, 8])\n"), done_code.stderr
