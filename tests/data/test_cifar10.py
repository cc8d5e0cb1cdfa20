"""CIFAR-10 from the official batches, from the archive and from class folders."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from batchot.data import DataError, Splits, load_cifar10, load_dataset
from batchot.data.sets import cifar10
from batchot.data.sets.places import cache_folder
from data.published_formats import cifar_batch, cifar_batches, python2_pickle


def load_small(root: Path | None, **options: bool) -> Splits:
    with pytest.warns(UserWarning, match=r"scores on it are not scores on CIFAR-10"):
        return load_cifar10(root, **options)


def check_small(splits: Splits) -> None:
    assert splits.name == "cifar10"
    assert splits.sample_shape == (3, 32, 32)
    assert splits.train.images[:, 2, 31, 0].tolist() == list(range(50))
    assert splits.train.labels.tolist() == [i % 10 for i in range(50)]
    assert splits.test.images[:, 0, 0, 31].tolist() == list(range(50, 60))
    assert splits.train.classes[3] == "cat"


def archive(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def published_archive() -> bytes:
    batches = {f"cifar-10-batches-py/{name}": content for name, content in cifar_batches().items()}
    return archive({"cifar-10-batches-py/readme.html": b"<html>", **batches})


@pytest.mark.parametrize("folder", ["", "cifar10", "cifar-10-batches-py", "cifar10/cifar-10-batches-py"])
def test_unpacked_batches(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in cifar_batches().items():
        (tmp_path / folder / name).write_bytes(content)
    check_small(load_small(tmp_path, download=False))


def test_rows_of_a_batch_are_red_then_green_then_blue_line_by_line(tmp_path: Path) -> None:
    pixels = np.arange(3072, dtype=np.int64) % 251
    batch = python2_pickle({"data": pixels.astype(np.uint8)[None], "labels": [3]})
    for name in cifar_batches():
        (tmp_path / name).write_bytes(batch)
    image = load_small(tmp_path, download=False).train.images[0]
    assert image.shape == (3, 32, 32)
    assert image[1, 5, 7] == (1024 + 5 * 32 + 7) % 251


@pytest.mark.parametrize("folder", ["", "cifar10"])
def test_archive(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "cifar-10-python.tar.gz").write_bytes(published_archive())
    before = sorted(tmp_path.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_small(load_cifar10(tmp_path, download=False))
    assert sorted(tmp_path.rglob("*")) == before


def test_archive_with_members_that_lead_outside(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    batches = {f"cifar-10-batches-py/{name}": content for name, content in cifar_batches().items()}
    outside = {"../../evil": b"x", str(tmp_path / "evil"): b"x"}
    (root / "cifar-10-python.tar.gz").write_bytes(archive({**outside, **batches}))
    check_small(load_small(root, download=False))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99, 0.9999])
def test_truncated_archive(tmp_path: Path, share: float) -> None:
    whole = published_archive()
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError) as error:
        load_cifar10(tmp_path, download=False)
    message = str(error.value)
    for part in (
        str(path),
        "damaged or half downloaded",
        "170,498,071 bytes",
        f"{int(share * len(whole)):,} bytes",
    ):
        assert part in message
    assert "Delete it and run again" in message


def test_flipped_bit_in_the_archive(tmp_path: Path) -> None:
    # Stored without compression, so that the bit lands in a pixel and nothing but the checksum can tell.
    content = bytearray(gzip.compress(gzip.decompress(published_archive()), compresslevel=0))
    content[len(content) // 2] ^= 1
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged or half downloaded.*CRC"):
        load_cifar10(tmp_path, download=False)


def test_archive_that_lacks_a_batch(tmp_path: Path) -> None:
    batches = {f"cifar-10-batches-py/{name}": b"" for name in cifar_batches() if name != "data_batch_4"}
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive(batches))
    with pytest.raises(DataError, match=r"lacks data_batch_4: .*Download it again"):
        load_cifar10(tmp_path, download=False)


def test_archive_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(gzip.compress(b"no tar file" * 100))
    with pytest.raises(DataError, match=r"is damaged"):
        load_cifar10(tmp_path, download=False)


def test_batch_missing(tmp_path: Path) -> None:
    for name, content in cifar_batches().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"data_batch_3 cannot be read.*Unpack cifar-10-python.tar.gz again"):
        load_cifar10(tmp_path, download=False)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (cifar_batch(10, 0)[:500], "damaged or half downloaded: expected a pickled dictionary of arrays"),
        (b"", "damaged or half downloaded"),
        (pickle.dumps({"data": print}), "refused to load builtins.print"),
        (python2_pickle({"labels": []}), r"expected 'data', uint8 of shape \(10000, 3072\), got NoneType"),
        (python2_pickle([1, 2]), "expected a pickled dictionary"),
        (python2_pickle({"data": np.zeros((2, 3071), np.uint8), "labels": [0, 0]}), r"got uint8 \(2, 3071\)"),
        (
            python2_pickle({"data": np.zeros((2, 3072), np.int32), "labels": [0, 0]}),
            r"expected an array of bytes \(u1\), got one of b'i4'",
        ),
        (
            python2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
            "expected 'labels', 2 integers",
        ),
        (python2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}), "integers from 0 to 9"),
    ],
)
def test_bad_batch_is_named(tmp_path: Path, batch: bytes, message: str) -> None:
    for name, content in cifar_batches().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "data_batch_2").write_bytes(batch)
    with pytest.raises(DataError, match=rf"data_batch_2.*{message}"):
        load_cifar10(tmp_path, download=False)


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    for part, n in (("train", 3), ("test", 2)):
        for label, name in enumerate(cifar10.CLASSES):
            folder = tmp_path / "cifar10" / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                Image.new("RGB", (32, 32), (label * 20, i, 0)).save(folder / f"{i:04}.png")
    return tmp_path


def test_class_folders(class_folders: Path) -> None:
    for root in (class_folders, class_folders / "cifar10"):
        splits = load_small(root, download=False)
        assert splits.name == "cifar10"
        assert splits.train.classes == cifar10.CLASSES
        assert splits.train.images[:, :, 9, 9].tolist() == [
            [c * 20, i, 0] for c in range(10) for i in range(3)
        ]
        assert splits.test.labels.tolist() == [c for c in range(10) for _ in range(2)]


def test_class_folder_missing(class_folders: Path) -> None:
    (class_folders / "cifar10/test/dog").rename(class_folders / "elsewhere")
    with pytest.raises(DataError, match=r"test is incomplete: .*missing: dog\. Unpack it again"):
        load_cifar10(class_folders, download=False)


def test_foreign_class_folder(class_folders: Path) -> None:
    folder = class_folders / "cifar10/train/unicorn"
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "a.png")
    with pytest.raises(DataError, match=r"no class of CIFAR-10: unicorn"):
        load_cifar10(class_folders, download=False)


def test_class_folders_of_other_images(class_folders: Path) -> None:
    for path in class_folders.rglob("*.png"):
        Image.new("RGB", (16, 16)).save(path)
    with pytest.raises(DataError, match=r"\(3, 16, 16\) \(c, h, w\), CIFAR-10's are \(3, 32, 32\)"):
        load_cifar10(class_folders, download=False)


def test_damaged_image_in_class_folders(class_folders: Path) -> None:
    path = class_folders / "cifar10/train/frog/0001.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=rf"{path} is damaged"):
        load_cifar10(class_folders, download=False)


def test_missing_everywhere(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset("cifar10", tmp_path, download=False)
    for part in (
        f"  {tmp_path}\n",
        str(cache_folder() / "cifar10"),
        "cifar-10-python.tar.gz",
        "BATCHOT_DATA",
    ):
        assert part in str(error.value)


def test_download(web, monkeypatch: pytest.MonkeyPatch) -> None:
    content = published_archive()
    monkeypatch.setattr(cifar10, "URLS", (web.address("/cifar-10-python.tar.gz"),))
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(content).hexdigest())
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz: 404"):
        load_cifar10()
    web.files["/cifar-10-python.tar.gz"] = content
    check_small(load_cifar10())
    web.files.clear()
    check_small(load_small(None))


def test_official_address_and_checksum() -> None:
    assert cifar10.URLS == ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",)
    assert cifar10.ARCHIVE_MD5 == "c58f30108f718f92721af3b95e74349a"


def test_whole_data_set_gives_no_warning(tmp_path: Path) -> None:
    batch = python2_pickle({"data": np.zeros((10_000, 3072), np.uint8), "labels": [0] * 10_000})
    for name in cifar_batches():
        (tmp_path / name).write_bytes(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = load_cifar10(tmp_path, download=False)
    assert splits.train.images.shape == (50_000, 3, 32, 32)
    assert splits.test.labels.dtype == torch.int64
