from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.shapes import Mesh, ShapeError, ShapeWarning, read_shape
from batchot.shapes.formats.polygons import strip_triangles, triangulate
from oracles.polygons import crosses, keyhole, shoelace, simple_polygon

SEEDS = st.integers(0, 2**32 - 1)


def cut(points: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """The triangles of one polygon, (m, 3)."""
    order = np.arange(len(points)) if order is None else np.asarray(order)
    flat = np.column_stack([points, np.zeros(len(points))]) if points.shape[1] == 2 else points
    return triangulate(order, np.array([0]), np.array([len(order)]), flat)


def areas(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def in_space(generator: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Points of the plane somewhere in space, (n, 3)."""
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    return np.column_stack([points, np.zeros(len(points))]) @ turn.T + 10 * generator.normal(size=3)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_simple_polygons_are_covered_once_and_nothing_else_is(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = simple_polygon(generator, int(generator.integers(4, 25)))
    points = points[::-1] if generator.random() < 0.5 else points
    faces = cut(points)
    # Triangles that all turn as the polygon does, and whose areas add up to its own, cover it once.
    turns = np.array([shoelace(points[face]) for face in faces]) * np.sign(shoelace(points))
    assert turns.min() >= 0 and turns.sum() == pytest.approx(abs(shoelace(points)), rel=1e-12)
    middles = points[faces].mean(axis=1)[turns > 1e-9]
    assert all(crosses(points, middle) % 2 == 1 for middle in middles)
    turned = in_space(generator, points)
    assert areas(turned, cut(turned)).sum() == pytest.approx(abs(shoelace(points)), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from(["one index", "equal points", "twice in a row"]))
def test_windows_with_bridges(seed: int, aligned: bool, how: str) -> None:
    generator = np.random.default_rng(seed)
    points, order, area = keyhole(generator, int(generator.integers(1, 10)), aligned=aligned)
    order = np.roll(order, generator.integers(len(order)))[:: generator.choice([1, -1])]
    if how == "equal points":
        points, order = points[order], np.arange(len(order))
    elif how == "twice in a row":
        order = np.repeat(order, generator.integers(1, 3, len(order)))
    for moved in (points, in_space(generator, points)):
        flat = moved if moved.shape[1] == 3 else np.column_stack([moved, np.zeros(len(moved))])
        assert areas(flat, cut(moved, order)).sum() == pytest.approx(area, rel=1e-9)


@pytest.mark.parametrize("noise", ["float32", "separate corners that differ", "out of the plane"])
def test_windows_whose_corners_are_rounded(noise: str) -> None:
    generator = np.random.default_rng(2)
    for k in range(40):
        points, order, area = keyhole(generator, 5, aligned=k % 2 == 0)
        space = in_space(generator, points)
        if noise == "float32":
            space = space.astype(np.float32).astype(np.float64)
        elif noise == "out of the plane":
            space += 1e-4 * generator.normal(size=space.shape)
        else:
            space, order = space[order], np.arange(len(order))
            space += 1e-7 * generator.normal(size=space.shape)
        assert areas(space, cut(space, order)).sum() == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize("power", [-200, -30, 0, 30, 200, 307])
def test_any_scale(power: int) -> None:
    arrow = np.array([[0, 0, 0], [1, 1, 0], [0, 3, 0], [-1, 1, 0], [-0.5, 1, 0], [0, 2, 0.0]])
    for order in ([0, 1, 2, 3, 4, 5], [1, 2, 3, 5], [5, 1, 2, 3], [2, 3, 5, 1]):
        faces = cut(arrow * 10.0**power, np.array(order))
        expected = abs(shoelace(arrow[order, :2]))
        assert areas(arrow, faces).sum() == pytest.approx(expected, rel=1e-12)


def test_convex_polygons_stay_fans() -> None:
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    points = np.column_stack([np.cos(angles), np.sin(angles), np.full(8, 3.0)])
    assert cut(points).tolist() == [[0, k, k + 1] for k in range(1, 7)]
    assert cut(points[:4]).tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    "points",
    [
        [[0, 0], [1, 0], [2, 0], [3, 0], [1.5, 0]],  # on a line
        [[0, 0]] * 6,
        [[0, 0], [1, 1], [1, 0], [0, 1]],  # crosses itself
        [[0, 0], [1, 1], [1, 0], [0, 1], [3, 3]],
        [[0, 0], [np.nan, 1], [1, 0], [0, 1], [3, 3]],
        [[0, 0], [np.inf, 1], [1, 0], [0, 1]],
        [[0, 0], [2, 0], [1, 0], [1, 1], [1, 0]],  # spikes
    ],
)
def test_polygons_that_are_none_still_give_triangles(points: list[list[float]]) -> None:
    faces = cut(np.array(points, dtype=np.float64))
    assert 1 <= len(faces) <= len(points) - 2 and faces.min() >= 0 and faces.max() < len(points)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 1.0, 1.0, 2.0, 1e-9, 1e300, -1e300, 5e-324])] * 3), min_size=3
    ),
    st.data(),
)
def test_nothing_crashes(points: list[tuple[float, float, float]], data: st.DataObject) -> None:
    order = data.draw(st.lists(st.integers(0, len(points) - 1), min_size=3, max_size=40))
    faces = cut(np.array(points), np.array(order))
    assert len(faces) <= len(order) - 2 and set(faces.ravel()) <= set(order)


def test_many_corners_take_no_quadratic_time_or_are_refused() -> None:
    generator = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radii = generator.uniform(0.1, 1, len(angles))
    star = np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])
    faces = cut(star)
    flat = np.column_stack([star, np.zeros(len(star))])
    assert areas(flat, faces).sum() == pytest.approx(shoelace(star), rel=1e-9)
    with pytest.raises(ShapeError, match=r"takes too long \(face 0, counted from 0, has 60,000 corners\)"):
        cut(generator.normal(size=(60_000, 2)))


def test_strips() -> None:
    assert strip_triangles(np.array([0, 1, 3, 2, -1, 4, 5, 7, 6, -1])).tolist() == [
        [0, 1, 3], [3, 1, 2], [4, 5, 7], [7, 5, 6],
    ]  # fmt: skip
    assert len(strip_triangles(np.array([0, 1, -1, 2, 3]))) == 0 == len(strip_triangles(np.array([1])))


# A frame with a window and a notch, of a polygon that goes to the window and back over one bridge.
FRAME = np.array(
    [[0, 0], [6, 0], [6, 5], [4, 5], [4, 4.5], [2, 4.5], [2, 5], [0, 5], [0, 0], [1, 1], [1, 3], [3, 3], [3, 1], [1, 1]]
)  # fmt: skip
FRAME_AREA = 30 - 2 * 0.5 - 4


@pytest.mark.parametrize("ending", [".obj", ".off", ".ply", ".stl"])
@pytest.mark.parametrize("turned", [False, True])
def test_every_format_with_polygons(ending: str, turned: bool) -> None:
    space = in_space(np.random.default_rng(1), FRAME) if turned else np.column_stack([FRAME, np.zeros(14)])
    rows = [" ".join(map(repr, row)) for row in space.tolist()]
    corners = range(len(rows))
    text = {
        ".obj": "".join(f"v {row}\n" for row in rows) + "f " + " ".join(str(k + 1) for k in corners) + "\n",
        ".off": "\n".join(["OFF", "14 1 0", *rows, "14 " + " ".join(map(str, corners)), ""]),
        ".ply": "\n".join(
            [
                *("ply", "format ascii 1.0", "element vertex 14"),
                *(f"property double {axis}" for axis in "xyz"),
                *("element face 1", "property list uchar int vertex_indices", "end_header", *rows),
                "14 " + " ".join(map(str, corners)),
                "",
            ]
        ),
        ".stl": "solid\nfacet normal 0 0 1\nouter loop\n" + "".join(f"vertex {row}\n" for row in rows)
        + "endloop\nendfacet\nendsolid\n",
    }[ending]  # fmt: skip
    mesh = read_shape(text.encode(), ending, "frame", normalize=False)
    assert isinstance(mesh, Mesh), json.dumps(text)
    assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(FRAME_AREA, rel=1e-9)


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".off", "OFF\n4 3 0\n0 0 0\n1 0 0\n0 1 0\n1 1 0\n3 0 1 2\n2 1 3\n0\n"),
        (".obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4\nf\n"),
        (
            ".ply",
            "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
            "element face 3\nproperty list uchar int vertex_indices\nend_header\n"
            "0 0 0\n1 0 0\n0 1 0\n1 1 0\n3 0 1 2\n2 1 3\n0\n",
        ),
        (
            ".stl",
            "solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
            "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nendloop\nendfacet\n"
            "facet normal 0 0 1\nouter loop\nendloop\nendfacet\nendsolid a\n",
        ),
    ],
)
def test_faces_of_two_corners_are_told(ending: str, text: str) -> None:
    with pytest.warns(ShapeWarning, match="2 of 3 faces have fewer than three corners and are left out"):
        shape = read_shape(text.encode(), ending, f"a{ending}")
    assert isinstance(shape, Mesh) and len(shape.faces) == 1


def test_no_face_of_three_corners_is_none() -> None:
    with pytest.raises(ShapeError, match="no faces"):
        read_shape(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n", ".obj", "a.obj")
