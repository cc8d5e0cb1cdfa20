from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from batchot.shapes import PointCloud, ShapeError, read_shape
from batchot.shapes.formats.points import cloud_of_columns, read_npy, read_text_points
from oracles.shape_files import cloud, npy, text_cloud

POINTS, NORMALS = cloud()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "<i2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(dtype: str, order: str) -> None:
    points = np.asarray(POINTS * 10, dtype=dtype, order=order) if dtype != "u1" else np.eye(3, dtype=dtype)
    shape = read_npy(npy(points))
    assert np.array_equal(shape.points, points.astype(float)) and shape.normals is None


@pytest.mark.parametrize(
    "shape",
    [read_npy(npy(np.hstack([POINTS, NORMALS]))), read_text_points(text_cloud())],
    ids=["npy", "text"],
)
def test_six_columns_with_unit_vectors_are_points_and_normals(shape: PointCloud) -> None:
    assert np.array_equal(shape.points, POINTS)
    assert shape.normals is not None and np.allclose(shape.normals, NORMALS, atol=1e-6)
    assert np.allclose(np.linalg.norm(shape.normals, axis=1), 1, atol=1e-12)


def test_six_columns_with_colours_are_points() -> None:
    assert cloud_of_columns(np.hstack([POINTS, np.full((50, 3), 0.4)])).normals is None
    assert cloud_of_columns(np.hstack([POINTS, np.zeros((50, 3))])).normals is None
    pure = np.eye(3)[np.arange(50) % 3]
    assert cloud_of_columns(np.hstack([POINTS, pure])).normals is None  # red, green, blue
    assert (
        cloud_of_columns(np.hstack([POINTS, pure * np.where(np.arange(50) % 2, 1, -1)[:, None]])).normals
        is not None
    )


def test_normals_that_were_not_known_are_zero() -> None:
    normals = NORMALS.copy()
    normals[3], normals[4] = 0, np.nan
    found = cloud_of_columns(np.hstack([POINTS, normals])).normals
    assert found is not None and not found[3:5].any() and np.allclose(found[5:], normals[5:], atol=1e-6)


class Evil:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_pickled_npy_is_not_run(tmp_path: Path) -> None:
    content = npy(np.array([[Evil(tmp_path / "was run")] * 3], dtype=object))
    with pytest.raises(ShapeError, match="pickled Python objects"):
        read_npy(content)
    assert not list(tmp_path.iterdir())


def lying_header(shape: str) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (7, 3)})
    return file.getvalue().replace(b"(7, 3)", shape.encode()) + bytes(84)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(POINTS)[:-1], "announces 50 x 3 numbers"),
        (npy(POINTS)[:40], "header of the NPY file is damaged"),
        (lying_header("(4000000000, 3)"), "announces 4,000,000,000 x 3"),
        (lying_header("(-7, 3)"), r"holds \(-7, 3\)|damaged"),
        (lying_header("(7, 3"), "header of the NPY file is damaged"),
        (lying_header("print('x')"), "header of the NPY file is damaged"),
        (npy(POINTS.T), r"\(3, 50\) of float32, perhaps transposed"),
        (npy(POINTS[:, :2]), r"\(50, 2\)"),
        (npy(POINTS[None]), r"\(1, 50, 3\)"),
        (npy(POINTS[:0]), "no points"),
        (npy(np.array([["a", "b", "c"]])), "of <U1"),
        (npy(np.array([[1, 2, np.nan]])), "none of 1 points is finite"),
    ],
)
def test_damaged_npy(content: bytes, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_npy(content)


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3\n4 5 6\n",
        "1,2,3\r\n4,5,6",
        "2\n1 2 3\n4 5 6\n",
        "x,y,z\n1,2,3\n4,5,6\n",
        "//X Y Z\n1;2;3\n4;5;6\n",
        "# comment\n\n1 2 3 128\n4 5 6 0\n",
        "2\n1 2 3 -90 255 0 0\n4 5 6 -91 0 0 0\n",
    ],
)
def test_text(text: str) -> None:
    assert read_text_points(text.encode()).points.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3\n1 2 3\n4 5 6\n", "announces 3 points, but 2 follow"),
        ("1 2 3\n4 5", "line 2 has 2 columns, the first point has 3 .*truncated"),
        ("1 2\n4 5\n", "line 1: '1 2' is no point"),
        ("1 2 3\n4 five 6\n", "line 2: 'five' is not a number"),
        ("1 2 3\n4 5\n7 8 9\n", "line 2 has 2 columns.*damaged"),
        ("1\n1 2 3\n4 5 6\n", "announces 1 points, but 2 follow; the file is damaged"),
        ("nan 2 3\nnan 5 6\n", "none of 2 points is finite"),
        ("x y z\n", "no points"),
    ],
)
def test_damaged_text(text: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_text_points(text.encode())


@pytest.mark.parametrize("word", ["1.5D+00", "15.d-1", ".15D1"])
def test_exponents_of_fortran(word: str) -> None:
    for text in (f"{word} {word} {word}\n4 5 6\n", f"4 5 6\n{word} {word} {word}\n"):
        assert [1.5, 1.5, 1.5] in read_text_points(text.encode()).points.tolist()


@pytest.mark.parametrize(
    "row",
    [
        "1_000 2 3",
        "0x10 0x20 0x30",
        "1'000 2'000 3'000",
        "1.0-101 2 3",
        "*** *** ***",
        "\uff11 \uff12 \uff13",
        "\u22121 2 3",
        "(1 2 3",
    ],
)
def test_a_first_row_of_damaged_numbers_is_no_header(row: str) -> None:
    with pytest.raises(ShapeError, match=r"line 1: .* is not a number"):
        read_text_points(f"{row}\n4 5 6\n7 8 9\n".encode())


@pytest.mark.parametrize("title", ["3D scan of 2024", "2024-01-01 12:00", "2nd floor", "room 7"])
def test_a_title_may_have_numbers(title: str) -> None:
    assert read_text_points(f"{title}\n1 2 3\n4 5 6\n".encode()).points.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_names_that_begin_with_a_digit_are_a_header() -> None:
    assert read_text_points(b"3d_id,x,y,z\n9,1,2,3\n8,4,5,6\n").points.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_row_of_units_below_the_names() -> None:
    text = b"z;y;x\nmm;mm;mm\n3;2;1\n6;5;4\n"
    assert read_text_points(text).points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read_text_points(b"sep=;\n" + text).points.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_an_archive_of_arrays_is_called_so() -> None:
    file = io.BytesIO()
    np.savez(file, points=POINTS)
    with pytest.raises(
        ShapeError, match=r"is an NPZ archive of NumPy, which is not read; save one of its arrays as \.npy"
    ):
        read_shape(file.getvalue(), ".npz", "x")
