"""The audit of a folder of images that somebody has rendered elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batchot.audit.audit import AuditReport
from batchot.audit.images import audit_images, find_rendered

CLASSES = ("airplane", "bathtub", "bed")


def draw(random: np.random.Generator, background: int, size: int = 64) -> Image.Image:
    pixels = np.full((size, size), background, np.uint8)
    top, left = random.integers(8, 24, 2)
    pixels[top : top + random.integers(8, 24), left : left + random.integers(8, 24)] = random.integers(0, 200)
    return Image.fromarray(pixels)


def write_images(folder: Path, seed: int, leak: str | None = None, ending: str = "png", n: int = 10) -> None:
    random = np.random.default_rng(seed)
    rows = ["image,azimuth,elevation"]
    for label, name in enumerate(CLASSES):
        for index in range(n):
            split = "train" if index % 3 else "test"
            (folder / name / split).mkdir(parents=True, exist_ok=True)
            background = 255 - label if leak == "grey" else int(random.integers(250, 256))
            azimuth = random.uniform(0, 20) + (30 * label if leak == "azimuth" else 0)
            for view in range(2 + (leak == "views" and label == 1)):
                path = folder / name / split / f"{name}_{index:04}_{view + 1:03}.{ending}"
                image = draw(random, background, 65 if leak == "size" and label == 0 else 64)
                image.convert("RGB" if leak == "mode" and label == 2 else "L").save(path)
                rows.append(f"{path.relative_to(folder).as_posix()},{azimuth + 30 * view},30")
    (folder / "cameras.csv").write_text("\n".join(rows) + "\n")


def found(report: AuditReport) -> set[str]:
    return {check.name for check in report.checks if check.leak}


@pytest.mark.parametrize("seed", range(4))
def test_honest_images_pass(tmp_path: Path, seed: int) -> None:
    write_images(tmp_path, seed)
    report = audit_images(tmp_path, cameras=tmp_path / "cameras.csv", seed=seed, progress=False)
    assert not report.leak and report.n_shapes == 30
    assert "60 images" in report.lines()[0]


@pytest.mark.parametrize(
    ("leak", "where"),
    [("grey", "corners"), ("azimuth", "cameras"), ("views", "files"), ("size", "files"), ("mode", "files")],
)
@pytest.mark.parametrize("seed", range(2))
def test_planted_leaks_are_found(tmp_path: Path, leak: str, where: str, seed: int) -> None:
    write_images(tmp_path, seed, leak)
    report = audit_images(tmp_path, cameras=tmp_path / "cameras.csv", seed=seed, progress=False)
    assert where in found(report) and report.leak


def test_a_grey_level_shows_through_jpeg(tmp_path: Path) -> None:
    write_images(tmp_path, 0, "grey", ending="jpg")
    assert "corners" in found(audit_images(tmp_path, progress=False))


def test_without_a_table_of_cameras_that_is_said(tmp_path: Path) -> None:
    write_images(tmp_path, 0, "azimuth")
    report = audit_images(tmp_path, progress=False)
    assert not report.leak and "not looked at" in report.checks[-1].finding


def test_views_of_a_shape_belong_together_in_every_layout(tmp_path: Path) -> None:
    names = {
        "bed/train/bed_0001_001.png": "bed/train/bed_0001",
        "bed/train/bed_0001_012.png": "bed/train/bed_0001",
        "train/sofa/m1024_v3.png": "train/sofa/m1024",
        "sofa/chair_0001.png": "sofa/chair_0001",  # four digits are the number of a shape
        "sofa/Ünïcode name_2.jpg": "sofa/Ünïcode name",
    }
    for name in (*names, "sofa/.hidden_1.png", "sofa/notes.txt", "loose.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shapes = find_rendered(tmp_path)
    assert {image.relative_to(tmp_path).as_posix(): s.name for s in shapes for image in s.images} == names
    assert {shape.class_name for shape in shapes} == {"bed", "sofa"}


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no images"):
        audit_images(tmp_path, progress=False)
    write_images(tmp_path, 0, n=3)
    for pattern, message in (("(", "no regular expression"), (".*", "has no group")):
        with pytest.raises(ValueError, match=message):
            audit_images(tmp_path, view_pattern=pattern, progress=False)
    table = tmp_path / "cameras.csv"
    rows = table.read_text().splitlines()
    for wrong in (rows[1] + ",3", rows[1].rpartition(",")[0] + ",x", rows[1].rpartition(",")[0] + ",nan"):
        table.write_text("\n".join([rows[0], rows[2], wrong]))
        with pytest.raises(ValueError, match=r"cameras\.csv, line 3"):
            audit_images(tmp_path, cameras=table, progress=False)
    table.write_text("\n".join(rows[:3]))
    with pytest.raises(ValueError, match="has no row for airplane/train"):
        audit_images(tmp_path, cameras=table, progress=False)
    broken = tmp_path / "bed" / "test" / "bed_0000_001.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"bed_0000_001\.png is damaged"):
        audit_images(tmp_path, progress=False)
