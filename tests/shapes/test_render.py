from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.render.cameras import Cameras, cameras_from_eyes, make_cameras
from batchot.shapes.render.render import CHANNELS, render_views
from batchot.shapes.shape import Mesh, PointCloud
from oracles.solids import cube, revolved, soup, sphere


def everything(mesh: Mesh, cameras: str = "circle-12", size: int = 40) -> NDArray[np.uint8]:
    return render_views(mesh, cameras, size=size, channels=CHANNELS)


def vase() -> Mesh:
    heights = np.linspace(-0.7, 0.7, 9)
    return revolved(0.3 + 0.15 * np.cos(5 * heights), heights, 13)


@pytest.mark.parametrize("mesh", [soup(60, 0), vase(), cube()], ids=["soup", "vase", "cube"])
def test_pixels_depend_on_the_surface_alone(mesh: Mesh) -> None:
    expected = everything(mesh)
    rng = np.random.default_rng(0)
    flipped = mesh.faces[:, ::-1]
    np.testing.assert_array_equal(everything(Mesh(mesh.vertices, flipped)), expected)
    some = np.where(rng.random((len(flipped), 1)) < 0.5, mesh.faces, flipped[:, [1, 2, 0]])
    np.testing.assert_array_equal(everything(Mesh(mesh.vertices, some)), expected)
    order = rng.permutation(len(mesh.faces))
    np.testing.assert_array_equal(everything(Mesh(mesh.vertices, mesh.faces[order])), expected)
    twice = np.concatenate([mesh.faces, flipped[order]])
    np.testing.assert_array_equal(everything(Mesh(mesh.vertices, twice)), expected)
    places = rng.permutation(len(mesh.vertices))
    moved = Mesh(mesh.vertices[places], np.argsort(places)[mesh.faces])
    np.testing.assert_array_equal(everything(moved), expected)
    apart = Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))
    np.testing.assert_array_equal(everything(apart), expected)
    degenerate = np.concatenate([mesh.faces, [[0, 0, 1], [2, 2, 2]]])
    np.testing.assert_array_equal(everything(Mesh(mesh.vertices, degenerate)), expected)


def test_a_channel_does_not_depend_on_the_others() -> None:
    both = everything(soup(60, 1))
    for k, channel in enumerate(CHANNELS):
        alone = render_views(soup(60, 1), size=40, channels=(channel,))
        np.testing.assert_array_equal(alone[:, 0], both[:, k])
    swapped = render_views(soup(60, 1), size=40, channels=CHANNELS[::-1])
    np.testing.assert_array_equal(swapped[:, ::-1], both)


def test_turning_a_shape_turns_the_list_of_views() -> None:
    mesh = soup(30, 2)
    angle = math.radians(30)
    turn = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    before = everything(mesh, size=64).astype(int)
    after = everything(Mesh(mesh.vertices @ turn.T, mesh.faces), size=64).astype(int)
    differ = np.abs(np.roll(before, 1, axis=0) - after) > 1
    assert differ.mean() < 0.002  # samples on an edge, to rounding


def test_another_process_with_other_threads_gives_the_same_pixels() -> None:
    script = (
        "import hashlib; from oracles.solids import soup;"
        "from batchot.shapes.render.render import CHANNELS, render_views;"
        "print(hashlib.sha256(render_views(soup(60, 7), size=40, channels=CHANNELS).tobytes()).hexdigest())"
    )
    tests = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent / "src"), os.environ.get("PYTHONPATH", "")])
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path, "NUMBA_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == hashlib.sha256(everything(soup(60, 7)).tobytes()).hexdigest()


@pytest.mark.parametrize("background", [255, 0, 77])
def test_empty_pixels_are_exactly_background(background: int) -> None:
    mesh = sphere(20, 0.5)
    pictures = render_views(mesh, size=50, channels=CHANNELS, background=background)
    empty = pictures[:, 2] == 0
    assert 0.5 < empty.mean() < 1
    assert (pictures[:, 0][empty] == background).all()
    assert (pictures[:, 1][empty] == 0).all() and (pictures[:, 1][~empty] > 0).all()
    shrunk = np.stack([np.roll(empty, s, a) for s in (1, -1) for a in (1, 2)]).all(axis=0) & empty
    assert (pictures[:, 3][shrunk] == 255).all()  # lines are half a pixel wider than the shape


def test_sphere_by_formula() -> None:
    size, radius = 128, 0.9
    for cameras in (make_cameras("circle-12"), make_cameras("box-6")):
        pictures = render_views(sphere(120, radius), cameras, size=size, channels=("silhouette", "depth"))
        rim = radius / math.sqrt(1 - radius**2 / cameras.distance**2) / cameras.extent * size / 2
        areas = pictures[:, 0].astype(float).sum(axis=(1, 2)) / 255
        np.testing.assert_allclose(areas, math.pi * rim**2, rtol=2e-3)
        assert (pictures[:, 1].max(axis=(1, 2)) == int(128.5 + 127 * radius)).all()


def test_faces_of_a_cube_by_formula() -> None:
    cameras = cameras_from_eyes([[1, 2, 2]], distance=math.inf)
    picture = render_views(cube(0.5), cameras, size=256, antialias=1)[0, 0]
    greys, counts = np.unique(picture, return_counts=True)
    # |n · v| is 1/3 and 2/3, and an area of 1 is seen as that much
    assert greys.tolist() == [round(35 + 185 / 3), round(35 + 185 * 2 / 3), 255]
    np.testing.assert_allclose(counts[:2] / 256**2 * 4, [1 / 3, 4 / 3], rtol=0.01)


def test_one_triangle() -> None:
    mesh = Mesh([[0, -0.5, -0.5], [0, 0.5, -0.5], [0, 0, 0.5]], [[0, 1, 2]])
    silhouettes = render_views(mesh, "box-6", size=60, channels=("silhouette",))[:, 0] / 255
    np.testing.assert_allclose(silhouettes.sum(axis=(1, 2)), [450, 450, 0, 0, 0, 0], rtol=0.01)


def test_a_million_tiny_triangles() -> None:
    """Every one far smaller than a sample, and the surface has no hole."""
    x = np.linspace(-0.6, 0.6, 708)
    u, v = np.meshgrid(x, x)
    k = np.arange(708 * 708).reshape(708, 708)
    a, b, c, d = (i.ravel() for i in (k[:-1, :-1], k[:-1, 1:], k[1:, 1:], k[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    mesh = Mesh(np.stack([u, v, 0.05 * np.sin(9 * u)], axis=-1).reshape(-1, 3), faces)
    assert len(faces) > 990_000
    cameras = cameras_from_eyes([[0, 0, 1]], distance=math.inf)
    silhouette, shaded = render_views(mesh, cameras, size=50, channels=("silhouette", "shaded"))[0]
    assert (silhouette[11:39, 11:39] == 255).all()
    assert silhouette.sum() / 255 == pytest.approx(0.36 * 2500, rel=0.02)
    assert shaded[11:39, 11:39].min() > 180


def test_what_reaches_out_of_the_picture_is_cut_off() -> None:
    cameras = cameras_from_eyes([[0, 0, 1]], distance=math.inf, extent=0.25)
    views = render_views(cube(0.5), cameras, size=30, channels=("silhouette", "shaded"))
    assert (views[0, 0] == 255).all() and (views[0, 1] == 220).all()
    far = Mesh(cube(0.1).vertices + np.array([5.0, 0, 0]), cube().faces)
    assert (render_views(far, cameras, size=30, channels=("silhouette",)) == 0).all()


@pytest.mark.parametrize("size, antialias", [(1, 1), (1, 2), (17, 1), (17, 3), (5, 4)])
def test_odd_sizes(size: int, antialias: int) -> None:
    views = render_views(cube(0.9), "box-6", size=size, channels=CHANNELS, antialias=antialias)
    assert views.shape == (6, len(CHANNELS), size, size)
    assert (views[:, 2, size // 2, size // 2] > 200).all()


def test_file_is_read_normalised_and_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "a cube.off"
    solid = cube(7.0)
    lines = [f"OFF\n8 {len(solid.faces)} 0", *(f"{x} {y} {z}" for x, y, z in solid.vertices + 100)]
    path.write_text("\n".join([*lines, *(f"3 {a} {b} {c}" for a, b, c in solid.faces)]) + "\n")
    np.testing.assert_array_equal(render_views(path, size=32), render_views(cube(1 / math.sqrt(3)), size=32))
    near = Cameras("near", np.eye(3)[None], 0.5, 1.0)
    with pytest.raises(
        ShapeError, match=r"a cube\.off: a part of the shape is beside or behind camera 0 of 'near'"
    ):
        render_views(path, near, size=32)


@pytest.mark.parametrize(
    "shape", [cube(1e200), cube(1e308), Mesh([[1e308, 0, 0], [0, 1, 0], [-1e308, 0, 1]], [[0, 1, 2]])]
)
def test_shapes_that_cannot_be_drawn(shape: Mesh) -> None:
    with pytest.raises(ShapeError, match="times as large as the picture"):
        render_views(shape, "box-6", size=16)
    with pytest.raises(ShapeError, match="behind camera 0 of 'circle-12'"):
        render_views(shape, "circle-12", size=16)
    with pytest.raises(ShapeError):
        render_views(PointCloud(shape.vertices), size=16)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match=r"no channel 'colour'; there are shaded, depth, silhouette, lines"):
        render_views(cube(), channels=("colour",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sequence"):
        render_views(cube(), channels="depth")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most 4096, got 4000 and 2"):
        render_views(cube(), size=4000)
    with pytest.raises(ValueError, match="got 0 and 2"):
        render_views(cube(), size=0)
    with pytest.raises(ValueError, match="0 to 255"):
        render_views(cube(), background=256)
    with pytest.raises(ValueError, match="circle-13"):
        render_views(cube(), "circle-13")
