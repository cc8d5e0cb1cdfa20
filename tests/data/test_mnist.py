"""MNIST from files of the user, from the cache folder and from mirrors."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as load_original

from batchot.data import DataError, Splits, load_dataset, load_digits, load_mnist
from batchot.data.sets import mnist
from batchot.data.sets.places import cache_folder
from data.published_formats import idx_bytes, mnist_files


def load_small(root: Path | None, **options: bool) -> Splits:
    with pytest.warns(UserWarning, match=r"official file"):
        return load_mnist(root, **options)


def check_small(splits: Splits) -> None:
    assert splits.name == "mnist"
    assert splits.sample_shape == (1, 28, 28)
    assert splits.train.images[:, 0, 5, 7].tolist() == list(range(30))
    assert splits.test.images[:, 0, 27, 0].tolist() == list(range(20))
    assert splits.train.labels.tolist() == [i % 10 for i in range(30)]
    assert splits.train.classes == tuple("0123456789")


@pytest.mark.parametrize("folder", ["", "mnist", "mnist/raw"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dash", ["-", "."])
def test_found_wherever_and_however_named(tmp_path: Path, folder: str, packed: bool, dash: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in mnist_files().items():
        name = name.replace("-idx", f"{dash}idx") + (".gz" if packed else "")
        (tmp_path / folder / name).write_bytes(gzip.compress(content) if packed else content)
    check_small(load_small(tmp_path, download=False))


def test_environment_variable_and_cache_folder(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHOT_DATA", str(mnist_folder))
    check_small(load_small(None, download=False))
    monkeypatch.delenv("BATCHOT_DATA")
    shutil.copytree(mnist_folder / "mnist", cache_folder() / "mnist")
    check_small(load_small(None, download=False))


def test_data_root_goes_before_the_environment(mnist_folder: Path, tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("BATCHOT_DATA", str(tmp_path_factory.mktemp("nothing in it")))
    check_small(load_small(mnist_folder, download=False))


def test_the_official_numbers_give_no_warning(tmp_path: Path) -> None:
    for name, content in mnist_files_of_zeros(60_000, 10_000).items():
        (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = load_dataset("mnist", tmp_path, download=False)
    assert (len(splits.train), len(splits.test)) == (60_000, 10_000)


def mnist_files_of_zeros(train: int, test: int) -> dict[str, bytes]:
    files = {}
    for stem, n in (("train", train), ("t10k", test)):
        files[f"{stem}-images-idx3-ubyte"] = idx_bytes(np.zeros((n, 28, 28), dtype=np.uint8))
        files[f"{stem}-labels-idx1-ubyte"] = idx_bytes(np.zeros(n, dtype=np.uint8))
    return files


def test_missing_everywhere_names_the_places_and_what_to_do(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("BATCHOT_DATA", str(tmp_path / "b"))
    with pytest.raises(DataError) as error:
        load_mnist(tmp_path / "a", download=False)
    for part in (
        tmp_path / "a",
        tmp_path / "a" / "mnist",
        tmp_path / "b" / "mnist",
        cache_folder() / "mnist",
    ):
        assert f"  {part}\n" in str(error.value)
    for part in ("train-images-idx3-ubyte.gz", "download is switched off", "--data-root", "BATCHOT_DATA"):
        assert part in str(error.value)


def test_folder_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"--data-root names .*typo, which is not a folder"):
        load_mnist(tmp_path / "typo")
    monkeypatch.setenv("BATCHOT_DATA", str(tmp_path / "other"))
    with pytest.raises(DataError, match=r"BATCHOT_DATA names .*other, which is not a folder"):
        load_mnist()


def test_one_file_missing(mnist_folder: Path) -> None:
    (mnist_folder / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"holds a part of MNIST.*missing: t10k-labels-idx1-ubyte.gz"):
        load_mnist(mnist_folder)


def test_half_downloaded(mnist_folder: Path) -> None:
    path = mnist_folder / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=rf"{path} is damaged or half downloaded.*60 packed bytes"):
        load_mnist(mnist_folder)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "train-images-idx3-ubyte",
            np.zeros((30, 27, 28)),
            r"images of \(27, 28\) pixels, MNIST's are 28 x 28",
        ),
        ("train-labels-idx1-ubyte", np.zeros(29), "30 images but .* 29 labels; they do not belong together"),
        ("t10k-labels-idx1-ubyte", np.full(20, 10), "must hold labels from 0 to 9, got 10"),
    ],
)
def test_files_that_are_whole_but_wrong(mnist_folder: Path, name: str, array, message: str) -> None:
    (mnist_folder / "mnist" / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array.astype(np.uint8))))
    with pytest.raises(DataError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_mnist(mnist_folder)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, web) -> None:
    """The small files as if they were the official ones, on the second of two mirrors."""
    files = []
    for file in mnist.FILES:
        content = gzip.compress(mnist_files()[file.name.removesuffix(".gz")], mtime=0)
        web.files[f"/second/{file.name}"] = content
        files.append(replace(file, md5=hashlib.md5(content).hexdigest()))
    for constant, file in zip(
        ("TRAIN_IMAGES", "TRAIN_LABELS", "TEST_IMAGES", "TEST_LABELS"), files, strict=True
    ):
        monkeypatch.setattr(mnist, constant, file)
    monkeypatch.setattr(mnist, "FILES", tuple(files))
    monkeypatch.setattr(mnist, "MIRRORS", (web.address("/first/"), web.address("/second/")))


@pytest.mark.usefixtures("published")
def test_download_into_the_cache_folder_once(web) -> None:
    check_small(load_small(None))
    assert sorted(path.name for path in (cache_folder() / "mnist").iterdir()) == sorted(
        f.name for f in mnist.FILES
    )
    web.files.clear()
    check_small(load_small(None))


@pytest.mark.usefixtures("published")
def test_interrupted_download_is_completed(web) -> None:
    load_small(None)
    (cache_folder() / "mnist" / mnist.TEST_LABELS.name).unlink()
    web.asked_for.clear()
    check_small(load_small(None))
    assert {path.rpartition("/")[2] for path in web.asked_for} == {mnist.TEST_LABELS.name}


@pytest.mark.usefixtures("published")
def test_download_that_fails_names_addresses_and_places(web) -> None:
    web.files.clear()
    with pytest.raises(DataError) as error:
        load_mnist()
    for part in (*mnist.MIRRORS, "404", "attempted and failed", str(cache_folder() / "mnist"), "--data-root"):
        assert part in str(error.value)


def test_official_addresses_and_checksums() -> None:
    # The checksums of the files as published in 1998; three of the four are also in the shared copy.
    assert {file.name: file.md5 for file in mnist.FILES} == {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in mnist.MIRRORS)


def test_real_mnist(shared_data: Path) -> None:
    splits = load_mnist(shared_data, download=False)
    assert splits.train.images.shape == (60_000, 1, 28, 28)
    assert splits.test.images.shape == (10_000, 1, 28, 28)
    assert splits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean = splits.train.images.to(torch.float64).mean().item() / 255
    assert mean == pytest.approx(0.1307, abs=1e-4)
    checksums = {file.name: file.md5 for file in mnist.FILES[1:]}
    for name, md5 in checksums.items():
        assert hashlib.md5((shared_data / "mnist" / name).read_bytes()).hexdigest() == md5


def test_every_digit_is_in_one_part() -> None:
    splits = load_digits()
    assert (len(splits.train), len(splits.test)) == (1297, 500)
    pixels = torch.cat([splits.train.images, splits.test.images]).flatten(1).numpy()
    labels = torch.cat([splits.train.labels, splits.test.labels]).numpy()
    original = load_original()
    mine = sorted(zip(map(bytes, pixels), labels, strict=True))
    theirs = np.rint(original.data * 255 / 16).astype(np.uint8)
    assert mine == sorted(zip(map(bytes, theirs), original.target, strict=True))
    assert pixels.max() == 255


def test_division_is_stratified_and_always_the_same() -> None:
    first, second = load_digits(), load_dataset("digits")
    assert torch.equal(first.train.images, second.train.images)
    shares = first.test.labels.bincount() / (first.test.labels.bincount() + first.train.labels.bincount())
    assert shares.sub(500 / 1797).abs().max() < 0.005
