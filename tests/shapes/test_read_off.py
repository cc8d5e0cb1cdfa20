from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.shapes import ShapeError, read_shape
from batchot.shapes.formats.off import read_off
from oracles.shape_files import BOX, TRIANGLES, off

POINTS = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n.5 1.5 0\n"
FANS = [[0, 1, 2], [0, 2, 3], [0, 3, 4]]


def test_box() -> None:
    mesh = read_off(off())
    assert np.array_equal(mesh.vertices, BOX) and np.array_equal(mesh.faces, TRIANGLES)


def test_a_face_without_corners_is_none() -> None:
    mesh = read_off(f"OFF\n5 3 0\n{POINTS}3 0 1 2\n0\n3 0 2 3\n".encode())
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    "text",
    [
        "OFF\n5 1 0\n" + POINTS + "5 0 1 2 3 4\n",
        "OFF5 1 0\n"
        + POINTS
        + "5 0 1 2 3 4",  # ModelNet: counts glued to the header, no end of the last line
        "OFF 5 1\n" + POINTS + "5 0 1 2 3 4",
        "off\n5 1 0\n" + POINTS + "5 0 1 2 3 4\n",
        "\ufeff# made by hand\n\nOFF # header\n# counts\n5 1 0\n\n"
        + POINTS
        + "# faces\n5 0 1 2 3 4 # only one\n\n",
        "5 1 0\n" + POINTS + "5 0 1 2 3 4\n",  # Geomview: the header may be missing
        "OFF\n5 1 0\n" + POINTS + "5 0 1 2 3 4 255 0 0 255\n",
        "OFF\n5 1 0\n" + POINTS + "5 0 1 2 3 4 0.5 0.5 0.5\n",
        "OFF\n5 2 0\n" + POINTS + "5 0 1 2 3 4\n2 0 1\n",  # an edge has no area
        "COFF\n5 1 0\n" + POINTS.replace("\n", " 255 0 0 255\n") + "5 0 1 2 3 4\n",
        "STCNOFF\n5 1 0\n" + POINTS.replace("\n", " 0 0 1 255 0 0 255 0 0\n") + "5 0 1 2 3 4\n",
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_variants(text: str, line_end: str) -> None:
    mesh = read_off(text.replace("\n", line_end).encode())
    assert mesh.faces.tolist() == FANS
    assert mesh.vertices[4].tolist() == [0.5, 1.5, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OFF\n5 2 0\n" + POINTS + "3 0 1 2\n", "announces 5 vertices and 2 faces, but 6 lines"),
        ("OFF\n5 1 0\n" + POINTS + "3 0 1 2\n3 0 1 2\n", "but 7 lines"),
        ("OFF\n4000000000 4000000000 0\n" + POINTS, "announces 4,000,000,000 vertices"),
        ("OFF\n5 1 0\n" + POINTS + "3 0 1", "face 0 .* announces 3 corners and its line has 2"),
        ("OFF\n5 1 0\n" + POINTS + "-3 0 1 2", "announces -3 corners"),
        ("OFF\n5 1 0\n" + POINTS + "nan 0 1 2", "announces nan corners"),
        ("OFF\n5 1 0\n" + POINTS + "3 0 1 5", "face 0 .* names vertex 5, which is not one of 0 to 4"),
        ("OFF\n5 1 0\n" + POINTS + "3 0 1 -1", "names vertex -1"),
        ("OFF\n5 1 0\n" + POINTS + "3 0 1 1.5", "names vertex 1.5"),
        ("OFF\n5 1 0\n" + POINTS + "2 0 1", "no faces"),
        ("OFF\n5 0 0\n" + POINTS, "no faces"),
        ("OFF\n5 1 0\n" + POINTS.replace("1 1 0", "1 1") + "3 0 1 2", "vertex 2 .* fewer than 3"),
        (
            "OFF\n5 1 0\n" + POINTS.replace("1 1 0", "1 nan 0") + "3 0 1 2",
            "all 1 faces have corners that are not finite",
        ),
        ("OFF\n5 1 0\n" + POINTS.replace("1 1 0", "1 one 0") + "3 0 1 2", "line 5: 'one' is not a number"),
        ("OFF\n", "nothing does"),
        ("OFF\n-5 1 0\n", "-5 1 0 does"),
        ("OFF\nnan 1 0\n", "nan 1 0 does"),
        ("4OFF\n5 1 0\n", "4-dimensional"),
        ("nOFF\n5\n5 1 0\n", "n-dimensional"),
        ("OFF BINARY\n", "binary OFF"),
    ],
)
def test_damaged(text: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_off(text.encode())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_same_as_trimesh(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, m = generator.integers(3, 30, 2)
    vertices = "\n".join(" ".join(f"{x:.7g}" for x in row) for row in generator.normal(size=(n, 3)))
    faces = "\n".join(f"3 {a} {b} {c}" for a, b, c in generator.integers(0, n, (m, 3)))
    text = f"OFF\n{n} {m} 0\n{vertices}\n{faces}\n".encode()
    ours, theirs = read_off(text), trimesh.load_mesh(io.BytesIO(text), file_type="off", process=False)
    assert np.array_equal(ours.vertices, theirs.vertices) and np.array_equal(ours.faces, theirs.faces)


def test_a_table_whose_first_name_begins_with_off_is_none() -> None:
    cloud = read_shape(b"offset,x,y,z\n9,1,2,3\n8,4,5,6\n", ".csv", "x", normalize=False)
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["NCOFF", "CNSTOFF", "STNCOFF", "NOFF", "COFF", "STOFF"])
def test_what_comes_with_the_vertices_may_be_named_in_any_order(kind: str) -> None:
    content = off().replace(b"OFF\n", f"{kind}\n".encode(), 1)
    mesh = read_shape(content, ".off", "x", normalize=False)
    assert np.array_equal(mesh.vertices, BOX)  # type: ignore[union-attr]
