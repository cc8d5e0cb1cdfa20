"""NPY files read without parsing each header."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from batchot.shapes.formats.points import parse_npy

POINTS = np.random.default_rng(0).normal(size=(5, 3))


def npy(array: NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_floats(dtype: str, version: tuple[int, int]) -> None:
    array = POINTS.astype(dtype)
    points = parse_npy(npy(array, version))
    assert points is not None and points.dtype == np.float32
    np.testing.assert_array_equal(points, array.astype(np.float32))


def test_headers_of_different_lengths_in_turn() -> None:
    for n in (5, 4, 5, 3):
        points = parse_npy(npy(POINTS[:n]))
        assert points is not None and points.shape == (n, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OFF\n8 6 0\n",
        npy(POINTS)[:40],
        npy(POINTS)[:-1],
        npy(POINTS) + b"\0",
        npy(POINTS[:, :2]),
        npy(POINTS.ravel()),
        npy(np.asfortranarray(POINTS)),
        npy(np.ones((5, 3), dtype=np.int64)),
        npy(POINTS).replace(b"shape", b"shade"),
    ],
)
def test_anything_else_is_left_to_the_reader_that_explains(content: bytes) -> None:
    assert parse_npy(content) is None
