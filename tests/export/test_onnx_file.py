"""ONNX files beyond the ordinary."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchot.errors import ExportError
from batchot.export import OneTower, largest_difference, write_onnx
from batchot.towers.saved import load_exported


def test_weights_in_a_file_of_their_own(exported: Path, tmp_path: Path) -> None:
    tower = OneTower(load_exported(exported), "model")
    whole = (exported / "model.onnx").stat().st_size
    files = write_onnx(tower, tmp_path / "model.onnx", metadata={"a": "b"}, external_above=1000)
    sizes = {file.name: file.stat().st_size for file in files}
    assert set(sizes) == {"model.onnx", "model.onnx.data"}
    assert sizes["model.onnx"] < 0.25 * whole < 0.75 * whole < sizes["model.onnx.data"]
    assert largest_difference(tower, tmp_path / "model.onnx") < 1e-5
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(ExportError, match=r"onnxruntime does not take model.onnx .*"):
        largest_difference(tower, tmp_path / "model.onnx")
