"""Class folders of image files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from batchot.data import DataError, Images, load_dataset, load_image_folder
from batchot.data.sets import pictures as folder
from batchot.data.sets.pictures import stratified_choice
from batchot.data.sets.places import cache_folder

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def make_images(root: Path, counts: dict[str, int], size: tuple[int, int] = (6, 5)) -> Path:
    for name, n in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", size, COLOURS[name]).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def split_root(tmp_path: Path) -> Path:
    make_images(tmp_path / "train", {"red": 3, "blue": 2})
    make_images(tmp_path / "test", {"red": 1, "blue": 2})
    return tmp_path


def test_train_and_test_folders(split_root: Path) -> None:
    splits = load_image_folder(split_root)
    assert splits.train.classes == ("blue", "red")
    assert splits.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert splits.test.labels.tolist() == [0, 0, 1]
    assert splits.sample_shape == (3, 5, 6)
    for images in (splits.train, splits.test):
        for image, label in zip(images.images, images.labels, strict=True):
            assert image[:, 2, 2].tolist() == list(COLOURS[images.classes[label]])


def test_folder_by_name(split_root: Path) -> None:
    assert load_dataset("folder", split_root, size=4).sample_shape == (3, 4, 4)
    with pytest.raises(DataError, match=r"needs --data-root"):
        load_dataset("folder")
    with pytest.raises(DataError, match=r"applies to the data set 'folder' only"):
        load_dataset("digits", size=8)
    with pytest.raises(DataError, match=r"unknown data set 'svhn'; there are mnist, cifar10, digits, folder"):
        load_dataset("svhn")  # type: ignore[arg-type]


def test_class_in_one_part_only(split_root: Path) -> None:
    make_images(split_root / "test", {"green": 1})
    splits = load_image_folder(split_root)
    assert splits.train.classes == splits.test.classes == ("blue", "green", "red")
    assert splits.train.labels.tolist() == [0, 0, 2, 2, 2]


def test_split_by_chance_is_stratified_and_seeded(tmp_path: Path) -> None:
    for name, n in (("blue", 10), ("red", 5)):
        (tmp_path / name).mkdir()
        for i in range(n):
            Image.new("L", (4, 4), i).save(tmp_path / name / f"{i}.png")
    splits = load_image_folder(tmp_path, test_fraction=0.4, seed=3)
    assert splits.test.labels.bincount().tolist() == [4, 2]

    def key(images: Images) -> set[tuple[int, int]]:
        return {(int(y), int(x[0, 0, 0])) for x, y in zip(images.images, images.labels, strict=True)}

    assert not key(splits.train) & key(splits.test)
    assert len(key(splits.train) | key(splits.test)) == 15
    assert key(load_image_folder(tmp_path, test_fraction=0.4, seed=3).test) == key(splits.test)
    assert key(load_image_folder(tmp_path, test_fraction=0.4, seed=4).test) != key(splits.test)


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_stratified_choice_leaves_something_on_both_sides(fraction: float) -> None:
    labels = torch.tensor([0] * 50 + [1] * 2 + [2])
    chosen = labels[stratified_choice(labels, fraction, seed=0)].bincount(minlength=3).tolist()
    assert chosen == [min(max(round(50 * fraction), 1), 49), 1, 0]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_fraction_out_of_range(tmp_path: Path, fraction: float) -> None:
    make_images(tmp_path, {"red": 2})
    with pytest.raises(DataError, match=r"test_fraction must lie between 0 and 1"):
        load_image_folder(tmp_path, test_fraction=fraction)


def test_what_is_no_image_is_counted(split_root: Path) -> None:
    (split_root / "train/red/.hidden.png").write_bytes(b"")
    (split_root / "train/red/Thumbs.db").write_bytes(b"")
    (split_root / "train/blue/deeper.png").mkdir()
    (split_root / "train/.cache").mkdir()
    with pytest.warns(
        UserWarning, match=r"train: 3 hidden files, folders or files that are no images left out"
    ):
        splits = load_image_folder(split_root)
    assert len(splits.train) == 5


def test_empty_class(split_root: Path) -> None:
    (split_root / "train/green").mkdir()
    with pytest.warns(UserWarning, match=r"no images in the classes green"):
        splits = load_image_folder(split_root)
    assert splits.train.classes == ("blue", "green", "red")


def test_endings_in_capitals(split_root: Path) -> None:
    (split_root / "train/red/0.png").rename(split_root / "train/red/0.PNG")
    assert len(load_image_folder(split_root).train) == 5


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a folder; expected"):
        load_image_folder(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds no images; expected"):
        load_image_folder(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"has train/ but not the other"):
        load_image_folder(tmp_path)


def test_other_size_is_named(split_root: Path) -> None:
    path = split_root / "train/red/1.png"
    Image.new("RGB", (7, 9)).save(path)
    with pytest.raises(DataError, match=rf"{path} is 7 x 9 pixels .*0.png is 6 x 5; give a size"):
        load_image_folder(split_root)
    assert load_image_folder(split_root, size=5).sample_shape == (3, 5, 5)


def test_test_images_of_another_size(tmp_path: Path) -> None:
    make_images(tmp_path / "train", {"red": 1})
    make_images(tmp_path / "test", {"red": 1}, size=(8, 8))
    with pytest.raises(DataError, match=r"training samples are \(3, 5, 6\), test samples \(3, 8, 8\)"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("size", [0, -3])
def test_size_out_of_range(split_root: Path, size: int) -> None:
    with pytest.raises(DataError, match=rf"size must be at least 1 pixel, got {size}"):
        load_image_folder(split_root, size=size)


class TestKeptDecoded:
    """More images than a threshold are decoded once."""

    @pytest.fixture(autouse=True)
    def low_threshold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folder, "PROGRESS_ABOVE", 2)

    @pytest.fixture
    def decoded(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        counts: list[int] = []
        decode = folder.decode_images

        def counting(paths, size):
            counts.append(len(paths))
            return decode(paths, size)

        monkeypatch.setattr(folder, "decode_images", counting)
        return counts

    def test_second_time_from_the_cache(self, split_root: Path, decoded: list[int]) -> None:
        first = load_image_folder(split_root)
        assert decoded == [5, 3]
        second = load_image_folder(split_root)
        assert decoded == [5, 3]
        assert torch.equal(first.train.images, second.train.images)
        assert torch.equal(first.test.labels, second.test.labels)
        second.train.images[0] = 0  # an array of one's own

    def test_other_size_is_another_matter(self, split_root: Path, decoded: list[int]) -> None:
        load_image_folder(split_root)
        assert load_image_folder(split_root, size=3).sample_shape == (3, 3, 3)
        assert load_image_folder(split_root).sample_shape == (3, 5, 6)
        assert decoded == [5, 3, 5, 3]

    def test_changed_file_is_decoded_anew(self, split_root: Path, decoded: list[int]) -> None:
        load_image_folder(split_root)
        path = split_root / "train/red/0.png"
        Image.new("RGB", (6, 5), (1, 2, 3)).save(path)
        os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
        assert load_image_folder(split_root).train.images[2, :, 0, 0].tolist() == [1, 2, 3]
        assert decoded == [5, 3, 5]

    def test_renamed_and_moved_files_are_decoded_anew(self, split_root: Path, decoded: list[int]) -> None:
        load_image_folder(split_root)
        (split_root / "train/blue/0.png").rename(split_root / "train/red/x.png")
        images = load_image_folder(split_root).train
        assert images.labels.tolist() == [0, 1, 1, 1, 1]
        assert images.images[4, :, 0, 0].tolist() == list(COLOURS["blue"])
        assert decoded == [5, 3, 5]

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
    def test_damaged_cache_is_made_anew(self, split_root: Path, decoded: list[int], damage: str) -> None:
        expected = load_image_folder(split_root).train.images
        for path in (cache_folder() / "decoded").iterdir():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            kept = {"truncated": content[:200], "flipped": content, "empty": b"", "text": b"no archive"}
            path.write_bytes(kept[damage])
        assert torch.equal(load_image_folder(split_root).train.images, expected)
        assert decoded[:3] == [5, 3, 5]
        load_image_folder(split_root)
        assert len(decoded) == 4

    def test_cache_folder_that_cannot_be_written(self, split_root: Path, own_cache: Path) -> None:
        (own_cache / "batchot").write_bytes(b"a file where the folder would be")
        assert len(load_image_folder(split_root).train) == 5

    def test_full_disk_leaves_nothing(self, split_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(file, **arrays: np.ndarray) -> None:
            file.write(b"a part")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", full)
        assert len(load_image_folder(split_root).train) == 5
        assert list((cache_folder() / "decoded").iterdir()) == []
