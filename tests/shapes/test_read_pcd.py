from __future__ import annotations

import struct

import numpy as np
import pytest

from batchot.shapes import ShapeError, read_shape
from batchot.shapes.formats.points import read_pcd
from oracles.shape_files import cloud, lzf, pcd

ENCODINGS = ("ascii", "binary", "binary_compressed")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_points_and_normals(encoding: str) -> None:
    points, normals = cloud()
    shape = read_pcd(pcd(encoding))
    assert np.array_equal(shape.points, points)
    assert shape.normals is not None and np.allclose(shape.normals, normals, atol=1e-6)


def test_long_repetitions_that_overlap_themselves() -> None:
    points = np.tile(np.float32([1, 2, 3]), (5000, 1))
    plain = np.ascontiguousarray(points.T).tobytes()
    packed = lzf(plain)
    assert len(packed) < len(plain) / 40
    header = pcd("binary_compressed").split(b"FIELDS")[0]
    header += b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 100\nHEIGHT 50\nPOINTS 5000\n"
    header += b"DATA binary_compressed\n"
    assert np.array_equal(
        read_pcd(header + struct.pack("<II", len(packed), len(plain)) + packed).points, points
    )


def test_points_that_were_not_measured_are_left_out() -> None:
    content = pcd("binary")
    start = content.index(b"DATA binary\n") + len(b"DATA binary\n")
    holes = content[:start] + np.float32([np.nan]).tobytes() + content[start + 4 :]
    assert np.array_equal(read_pcd(holes).points, cloud()[0][1:])
    text = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nDATA ascii\nnan nan nan\n"
    with pytest.raises(ShapeError, match="none of 1 points is finite"):
        read_pcd(text)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("part", [0.05, 0.2, 0.5, 0.95])
def test_truncated(encoding: str, part: float) -> None:
    content = pcd(encoding)
    with pytest.raises(ShapeError, match="truncated"):
        read_pcd(content[: int(part * len(content))])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"POINTS 50", b"POINTS 4000000000", "announces 4,000,000,000 points"),
        (b"POINTS 50", b"POINTS -1", "not understood"),
        (b"SIZE 4", b"SIZE 3", "not understood"),
        (b"TYPE F", b"TYPE Q", "not understood"),
        (b"COUNT 1", b"COUNT 1000000000", "not understood"),
        (b"COUNT 1", b"COUNT 1 1", "not understood"),
        (b"DATA ", b"DATA x", "not understood"),
        (b"FIELDS x", b"FIELDS a", "not x, y and z"),
    ],
)
def test_lying_header(encoding: str, old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_pcd(pcd(encoding).replace(old, new))


@pytest.mark.parametrize(
    "packed", [b"\x40\x01", b"\x05abc", b"\xe0", b"\xe0\xff", b"\x40", b"\x00a" * 3, b"\x00a\xe0\xff\x00"]
)
def test_wrong_lzf(packed: bytes) -> None:
    header = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nDATA binary_compressed\n"
    with pytest.raises(ShapeError, match="no LZF stream"):
        read_pcd(header + struct.pack("<II", len(packed), 12) + packed)


def test_lzf_that_claims_four_gigabytes() -> None:
    header = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 357913941\nDATA binary_compressed\n"
    with pytest.raises(ShapeError, match="damaged"):
        read_pcd(header + struct.pack("<II", 3, 357913941 * 12) + b"\x00ab")


def test_stray_lines_of_a_header_do_not_fill_the_message() -> None:
    stray = b"".join(b"%d -0.5089038610458374 1.25 3.5 7.75 0.125\n" % i for i in range(12))
    head = b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4\nTYPE F F F\n" + stray + b"POINTS 3\nDATA ascii\n"
    with pytest.raises(ShapeError, match="is not understood") as caught:
        read_shape(head, ".pcd", "a.pcd")
    assert "0.508" not in str(caught.value) and "x y z" in str(caught.value)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("first", [b"", b"# made by a scanner\n\n# in 2024\n"])
def test_the_number_of_points_may_be_that_of_a_grid(encoding: str, first: bytes) -> None:
    content = (
        pcd(encoding).replace(b"WIDTH 50\nHEIGHT 1\n", b"WIDTH 10\nHEIGHT 5\n").replace(b"POINTS 50\n", b"")
    )
    content = first + content[content.index(b"VERSION") :]
    for called in (".pcd", ""):
        shape = read_shape(content, called, "x", normalize=False)
        assert np.array_equal(shape.points, cloud()[0])  # type: ignore[union-attr]
