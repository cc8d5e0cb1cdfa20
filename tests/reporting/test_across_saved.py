from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from batchot.errors import RunError
from batchot.files import RunFolder, write_csv, write_text
from batchot.losses import BatchOTSettings
from batchot.reporting.material import ReportMaterial
from batchot.reporting.run import load_material, rebuild_report, save_material

Make = Callable[..., ReportMaterial]


def written(root: Path, material: ReportMaterial) -> RunFolder:
    folder = RunFolder(root)
    write_text(folder.config, material.config)
    write_csv(folder.history, [dataclasses.asdict(row) for row in material.rows])
    save_material(root, material)
    return folder


@pytest.mark.parametrize("full", [False, True])
def test_round_trip(make_cross_material: Make, tmp_path: Path, full: bool) -> None:
    material = make_cross_material([0, 1, 1], [0, 2], loss=None)
    if full:
        material = dataclasses.replace(
            material,
            names=("a b/1", "椅子/2", '<&">'),
            embeddings=torch.randn(3, 5).bfloat16(),
            query_name="photo",
            gallery_name="cloud",
            normalized=False,
            loss=BatchOTSettings(lam=7.0, normalize=False),
        )
    written(tmp_path, material)
    back = load_material(tmp_path)
    for side in ("query", "gallery"):
        before, after = getattr(material, side), getattr(back, side)
        torch.testing.assert_close(after.embeddings, before.embeddings.float())
        assert torch.equal(after.labels, before.labels)
        assert torch.equal(after.thumbnails, before.thumbnails)
        assert after.names == before.names
    for field in dataclasses.fields(material):
        if field.name not in ("embeddings", "labels", "thumbnails", "gallery"):
            assert getattr(back, field.name) == getattr(material, field.name), field.name


def test_large_thumbnails_are_shrunk(make_cross_material: Make, tmp_path: Path) -> None:
    material = make_cross_material([0, 1], [0, 1])
    large = torch.full((2, 3, 224, 112), 7, dtype=torch.uint8)
    material = dataclasses.replace(material, gallery=dataclasses.replace(material.gallery, thumbnails=large))
    save_material(tmp_path, material)
    assert load_material(tmp_path).gallery.thumbnails.shape == (2, 3, 96, 48)


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_files_are_named(make_cross_material: Make, tmp_path: Path, damage: str) -> None:
    path = save_material(tmp_path, make_cross_material([0, 1], [0, 1]))
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(RunError, match=r"cross_items\.npz is damaged"):
        load_material(tmp_path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no test_items\.npz"):
        load_material(tmp_path)


@pytest.mark.usefixtures("light_only")
def test_report_is_made_again_from_the_folder_alone(make_cross_material: Make, tmp_path: Path) -> None:
    folder = written(tmp_path / "run", make_cross_material([0, 0, 1], [0, 1, 1, 2]))
    assert rebuild_report(folder.root).report == folder.report
    page = folder.report.read_text()
    assert "Sketches and what they find" in page
    assert "<td>2</td><td>0.2000</td><td>75.00</td>" in page  # the second epoch, out of history.csv
    figures = sorted(path.name for path in folder.figures.iterdir())
    assert figures == ["curves.png", "embedding.png", "retrieved.png"]
    folder.report.unlink()
    rebuild_report(folder.root)
    assert folder.report.read_text() == page
