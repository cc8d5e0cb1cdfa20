"""IDX files: what is read, and what is said of each way in which a file can be damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from batchot.data import DataError
from batchot.data.sets.mnist import read_idx
from data.published_formats import idx_bytes

ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_reads_packed_and_unpacked_whatever_the_name(tmp_path: Path, pack, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pack(idx_bytes(ARRAY)))
    assert torch.equal(read_idx(path, ndim=3), torch.from_numpy(ARRAY))


@pytest.mark.parametrize("kept", [0, 3, 15, 16, 39])
def test_truncated_unpacked_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(ARRAY)[:kept])
    with pytest.raises(DataError) as error:
        read_idx(path, ndim=3)
    message = str(error.value)
    assert str(path) in message
    assert "2051" in message or "40 bytes" in message
    assert f"{kept} bytes" in message
    assert "Delete it and run again" in message


@pytest.mark.parametrize("kept", [2, 10, 15, 25, -1, -5])
def test_truncated_packed_file(tmp_path: Path, kept: int) -> None:
    packed = gzip.compress(idx_bytes(ARRAY))
    path = tmp_path / "images.gz"
    path.write_bytes(packed[:kept])
    with pytest.raises(
        DataError, match=r"images.gz is damaged or half downloaded.*2051.*Delete it and run again"
    ):
        read_idx(path, ndim=3)


def test_every_flipped_byte_of_a_packed_file_is_noticed(tmp_path: Path) -> None:
    packed = gzip.compress(idx_bytes(ARRAY))
    path = tmp_path / "images.gz"
    header = 10  # of gzip: time, flags and system are no part of the content
    for position in range(header, len(packed)):
        damaged = bytearray(packed)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"images.gz is damaged"):
            read_idx(path, ndim=3)


def test_too_long(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(ARRAY) + b"x")
    with pytest.raises(DataError, match=r"expected 40 bytes for 2 x 3 x 4 elements.*41 bytes arrived"):
        read_idx(path, ndim=3)


def test_labels_in_place_of_images(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(np.zeros(100, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"magic number 2051, but 108 bytes arrived that start with 2049"):
        read_idx(path, ndim=3)


def test_web_page_in_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(b"<!DOCTYPE html><title>Please log in</title>")
    with pytest.raises(DataError, match=r"2051.*<!DOCTYPE"):
        read_idx(path, ndim=3)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read"):
        read_idx(tmp_path, ndim=3)
