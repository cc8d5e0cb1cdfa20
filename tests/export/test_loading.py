"""Damaged exports are refused with the file and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from batchot.export import ExportError, load_exported
from batchot.training import load_run


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def change(**values: object) -> Callable[[Path], None]:
    def apply(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return apply


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (
            "architecture.json",
            Path.unlink,
            "has no architecture.json; export the run with --format safetensors",
        ),
        ("architecture.json", cut, "architecture.json cannot be read"),
        ("architecture.json", change(format=99), "format 99 is not 2"),
        ("architecture.json", change(towers=[{"name": "a"}]), "damaged: .* missing .* export the run again"),
        ("architecture.json", change(dimensions=9), "does not fit architecture.json .* export the run again"),
        (
            "model.safetensors",
            Path.unlink,
            "has no model.safetensors; export the run with --format safetensors",
        ),
        ("model.safetensors", cut, "model.safetensors cannot be read .* export the run again"),
    ],
)
def test_damage(
    exported: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], message: str
) -> None:
    folder = shutil.copytree(exported, tmp_path / "copy")
    damage(folder / name)
    with pytest.raises(ExportError, match=message):
        load_exported(folder)


def test_embeddings_are_those_of_the_run(cloud_run: Path, exported: Path) -> None:
    clouds = torch.randn(3, 64, 3, generator=torch.Generator().manual_seed(0)) / 4
    network = load_exported(exported)
    with torch.no_grad():
        wanted = load_run(cloud_run)(clouds)
    assert torch.equal(network.embed(clouds), wanted)
    assert torch.equal(network.embed(clouds, "model"), wanted)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no architecture.json"):
        load_exported(tmp_path)
