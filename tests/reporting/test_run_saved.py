from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from batchot.errors import RunError
from batchot.files import RunFolder, write_csv, write_text
from batchot.losses import BatchOTSettings
from batchot.reporting.material import ReportMaterial
from batchot.reporting.run import load_material, save_material

LABELS = [0, 0, 1, 1, 1]


@pytest.mark.parametrize("full", [False, True])
def test_round_trip(make_material: Callable[..., ReportMaterial], tmp_path: Path, full: bool) -> None:
    fields: dict[str, object] = {}
    if full:
        fields = {
            "names": ("a b/1", "椅子/2", '<&">', "c", "d"),
            "logits": torch.randn(5, 2),
            "predictions": torch.tensor([1, 0, 1, 0, 1]),
            "predicted_by": "SVM",
            "normalized": False,
            "loss": BatchOTSettings(lam=7.0, normalize=False),
            "items": "shapes",
            "embeddings": torch.randn(5, 3).bfloat16(),
        }
    else:
        fields = {"loss": None}
    material = make_material(LABELS, **fields)
    folder = RunFolder(tmp_path)
    write_text(folder.config, material.config)
    write_csv(folder.history, [dataclasses.asdict(row) for row in material.rows])
    path = save_material(tmp_path, material)
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".npz"] == [path.name]
    back = load_material(tmp_path)
    for field in dataclasses.fields(material):
        before, after = getattr(material, field.name), getattr(back, field.name)
        if isinstance(before, torch.Tensor):
            torch.testing.assert_close(after, before.float() if before.is_floating_point() else before)
        else:
            assert after == before, field.name


def test_large_thumbnails_are_shrunk(make_material: Callable[..., ReportMaterial], tmp_path: Path) -> None:
    save_material(
        tmp_path, make_material(LABELS, thumbnails=torch.full((5, 3, 224, 112), 7, dtype=torch.uint8))
    )
    thumbnails = load_material(tmp_path).thumbnails
    assert thumbnails.shape == (5, 3, 96, 48)
    assert thumbnails.unique().tolist() == [7]


def test_killed_half_way_leaves_the_old(
    make_material: Callable[..., ReportMaterial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_material(tmp_path, make_material(LABELS, title="old"))
    before = path.read_bytes()

    def fail(file, **arrays) -> None:  # type: ignore[no-untyped-def]
        file.write(b"half of the fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(RunError, match=r"No space left.*untouched"):
        save_material(tmp_path, make_material(LABELS, title="new"))
    assert path.read_bytes() == before
    assert load_material(tmp_path).title == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
def test_damaged_files_are_named(
    make_material: Callable[..., ReportMaterial], tmp_path: Path, damage: str
) -> None:
    path = save_material(tmp_path, make_material(LABELS))
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:middle],
            "empty": b"",
            "text": b"hello",
            "flipped": content[:60] + bytes(b ^ 255 for b in content[60:160]) + content[160:],
        }[damage]
    )
    with pytest.raises(RunError, match=r"test_items\.npz"):
        load_material(tmp_path)


def test_missing_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no folder .*nowhere"):
        load_material(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"has no test_items\.npz"):
        load_material(tmp_path)


def test_a_file_of_a_later_version_is_refused(
    make_material: Callable[..., ReportMaterial], tmp_path: Path
) -> None:
    path = save_material(tmp_path, make_material(LABELS))
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(arrays["about"].tobytes()) | {"format": 99}
    np.savez(path, **(arrays | {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}))
    with pytest.raises(RunError, match="format 99"):
        load_material(tmp_path)
