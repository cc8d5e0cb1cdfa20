"""Folders of sketches in each layout; what cannot be used is left out, counted and named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from batchot.data import DataError, load_sketch_folder
from batchot.data.sets import sketches as sketch_files
from batchot.data.sets.places import cache_folder
from data.sketch_formats import FORMS, draw, packed


def fill(root: Path, names: list[str], form: str = "png", kind: str = "png") -> Path:
    """A file for each name, each with another drawing."""
    for k, name in enumerate(names):
        path = root / f"{name}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FORMS[form](draw(size=(80 + 7 * (k % 5), 60 + 11 * (k % 3)))))
    return root


DIVIDED = {"train": ["dog/1", "dog/2", "house/7"], "test": ["dog/3", "house/8", "house/9"]}


@pytest.mark.parametrize("part_first", [False, True])
def test_both_divided_layouts(tmp_path: Path, part_first: bool) -> None:
    for part, names in DIVIDED.items():
        for name in names:
            class_name, number = name.split("/")
            order = (part, class_name) if part_first else (class_name, part)
            fill(tmp_path, ["/".join((*order, number))])
    told: list[str] = []
    splits = load_sketch_folder(tmp_path, size=24, tell=told.append)
    assert told == []
    assert splits.train.classes == ("dog", "house")
    assert splits.train.images.shape == (3, 1, 24, 24) and splits.train.images.dtype == torch.uint8
    for part, images in (("train", splits.train), ("test", splits.test)):
        assert sorted(images.names) == DIVIDED[part]
        assert [images.classes[label] for label in images.labels] == [
            name.split("/")[0] for name in images.names
        ]


def test_divided_by_seed_and_names(tmp_path: Path) -> None:
    fill(tmp_path, [f"{name}/{k}" for name in ("cup", "pan") for k in range(10)])
    first = load_sketch_folder(tmp_path, size=16, test_fraction=0.3)
    assert first.train.labels.bincount().tolist() == [7, 7] and first.test.labels.bincount().tolist() == [
        3,
        3,
    ]
    assert not set(first.train.names) & set(first.test.names)
    again = load_sketch_folder(tmp_path, size=32, test_fraction=0.3)
    other = load_sketch_folder(tmp_path, size=16, test_fraction=0.3, split_seed=1)
    assert again.test.names == first.test.names != other.test.names


def test_every_kind_of_file_in_one_folder(tmp_path: Path) -> None:
    kinds = {"png": "png", "jpg": "JPG", "webp": "webp", "bmp": "bmp", "gif": "gif", "tif": "tiff"}
    (tmp_path / "house").mkdir()
    for form, kind in kinds.items():
        (tmp_path / "house" / f"{form}.{kind}").write_bytes(FORMS[form](draw()))
    splits = load_sketch_folder(tmp_path, size=48, test_fraction=0.3)
    pixels = torch.cat([splits.train.images, splits.test.images]).float()
    assert len(pixels) == 6
    assert ((pixels - pixels[0]).abs().mean((1, 2, 3)) < 6).all()


@pytest.mark.filterwarnings("ignore:.*left out")
def test_blank_and_damaged_are_left_out_and_named(tmp_path: Path) -> None:
    fill(tmp_path, [f"dog/train/{k}" for k in range(6)] + ["dog/test/9"])
    (tmp_path / "dog/train/1.png").write_bytes(packed(Image.new("L", (50, 50), 255), "png"))
    (tmp_path / "dog/train/2.png").write_bytes(packed(Image.new("RGB", (50, 50), "black"), "png"))
    (tmp_path / "dog/train/3.png").write_bytes(b"no image")
    (tmp_path / "dog/notes.doc").write_text("about dogs")
    (tmp_path / "stray.png").write_bytes(packed(draw(), "png"))
    (tmp_path / ".hidden.png").write_bytes(b"")
    told: list[str] = []
    for _ in range(2):  # read, then taken from the cache: told the same
        told.clear()
        splits = load_sketch_folder(tmp_path, size=24, tell=told.append)
        assert splits.train.names == ("dog/0", "dog/4", "dog/5") and splits.test.names == ("dog/9",)
        text = "\n".join(told)
        assert "2 of 7 sketches are blank and left out" in text
        assert "dog/train/1.png" in text and "dog/train/2.png" in text
        assert "1 of 7 sketches cannot be read" in text and "3.png is damaged or no image" in text
        assert "1 files left out that are no images: dog/notes.doc" in text
        assert "1 files left out that lie in no class or part: stray.png" in text
    with pytest.warns(UserWarning, match="2 of 7 sketches are blank"):
        load_sketch_folder(tmp_path, size=24)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_that_is_lost_is_an_error(tmp_path: Path, part: str) -> None:
    fill(
        tmp_path,
        [f"{name}/{where}/{k}" for name in ("dog", "cup") for where in ("train", "test") for k in range(2)],
    )
    for k in range(2):
        (tmp_path / f"cup/{part}/{k}.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=rf"no {part} sketch of cup can be used, .*cup/{part}/0\.png is damaged"
    ):
        load_sketch_folder(tmp_path, size=24)


@pytest.mark.filterwarnings("ignore:.*lie in no class")
def test_no_folder_no_images_no_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder; expected a folder with CLASS/FILE"):
        load_sketch_folder(tmp_path / "none")
    with pytest.raises(DataError, match="holds no images; expected CLASS/FILE"):
        load_sketch_folder(tmp_path)
    (tmp_path / "1.png").write_bytes(packed(draw(), "png"))
    with pytest.raises(DataError, match="none in the folder of a class"):
        load_sketch_folder(tmp_path)
    fill(tmp_path, ["train/dog/1"])
    with pytest.raises(DataError, match="has sketches in train/ but not in the other"):
        load_sketch_folder(tmp_path)
    with pytest.raises(DataError, match=r"test_fraction must lie between 0 and 1, got 1"):
        load_sketch_folder(tmp_path, test_fraction=1.0)


def test_cache_is_used_and_follows_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [f"dog/{k}" for k in range(5)])
    first = load_sketch_folder(tmp_path, size=24)
    assert len(list((cache_folder() / "decoded").glob("*.npz"))) == 2
    with monkeypatch.context() as patch:
        patch.setattr(sketch_files, "read_sketch", None)  # nothing is read again
        again = load_sketch_folder(tmp_path, size=24)
    assert torch.equal(again.train.images, first.train.images) and again.train.names == first.train.names
    changed = first.train.names[0]
    (tmp_path / f"{changed}.png").write_bytes(packed(draw(size=(90, 90), width=9), "png"))
    later = load_sketch_folder(tmp_path, size=24)
    assert not torch.equal(later.train.images[0], first.train.images[0])
    assert torch.equal(later.train.images[1:], first.train.images[1:])


def test_names_follow_subsets(tmp_path: Path) -> None:
    train = load_sketch_folder(fill(tmp_path, [f"dog/{k}" for k in range(5)]), size=16).train
    part = train.subset(torch.tensor([3, 0]))
    assert part.names == (train.names[3], train.names[0])
    assert np.array_equal(part.images[0], train.images[3])


def test_real_sketches(shared_data: Path, tmp_path: Path) -> None:
    """The 640 sketches at hand: all of them drawn on, none of them faint."""
    unpack = [sys.executable, shared_data / "unpack.py", tmp_path, "shrec14_sketches"]
    subprocess.run(unpack, check=True, capture_output=True)
    told: list[str] = []
    splits = load_sketch_folder(tmp_path / "shrec14_sketches", size=64, tell=told.append)
    assert told == []
    assert splits.train.labels.bincount().tolist() == [50] * 8
    assert splits.test.labels.bincount().tolist() == [30] * 8
    images = splits.train.images.float()
    dark = (images < 100).sum((1, 2, 3))
    assert int(dark.min()) > 58  # a drawing spans 58 of the 64 pixels, and is dark all along
    assert int(dark.max()) < 64 * 64 // 2
    assert bool((images[:, :, 0] == 255).all())
