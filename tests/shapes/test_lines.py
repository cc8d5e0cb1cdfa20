from __future__ import annotations

import math

import numpy as np
import pytest

from batchot.shapes.render.cameras import Cameras, cameras_from_eyes, make_cameras
from batchot.shapes.render.render import render_views
from batchot.shapes.shape import Mesh
from oracles.solids import cube, revolved, sphere

SIZE = 96


def drawing(mesh: Mesh, cameras: Cameras | str, view: int = 0) -> np.ndarray:
    return render_views(mesh, cameras, size=SIZE, channels=("lines",))[view, 0]


def radius_of_ink(picture: np.ndarray) -> np.ndarray:
    """Distance of every pixel with ink from the middle of the picture, in half pictures."""
    rows, columns = np.nonzero(picture < 255)
    return np.hypot(rows + 0.5 - SIZE / 2, columns + 0.5 - SIZE / 2) / (SIZE / 2)


@pytest.mark.parametrize("bands", [9, 60])
def test_a_sphere_is_a_circle(bands: int) -> None:
    """Facets of 20 degrees stand for something round, and are not drawn."""
    for name in ("circle-12", "box-6", "dodecahedron-20"):
        for view in (0, 4):
            picture = drawing(sphere(bands, 0.9), name, view)
            distances = radius_of_ink(picture)
            s = 0.9 if name == "box-6" else 0.9 / math.sqrt(1 - 0.81 / 9) / make_cameras(name).extent
            assert distances.max() < s + 4 / SIZE
            chord = s * (1 - math.cos(math.pi / bands / 2)) * 2  # across a facet, in both directions
            assert distances.min() > s - chord - 6 / SIZE
            assert picture.min() == 0


def test_a_cube_is_nine_lines() -> None:
    """From a corner: six edges around and three that meet in the middle."""
    cameras = cameras_from_eyes([[1, 1, 1]], distance=math.inf)
    ink = 255 - drawing(cube(0.55), cameras).astype(float)
    corners = cameras.project(cube(0.55).vertices, SIZE)[0]
    near = corners[np.argmax(corners[:, 2])]
    far = corners[np.argmin(corners[:, 2])]
    around = [c for c in corners if c is not near and c is not far and abs(c[2] - near[2]) > 1e-6]
    around = [c for c in around if abs(c[2] - far[2]) > 1e-6]
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    distance = np.full((SIZE, SIZE), np.inf)
    for k, a in enumerate(around):
        ends = [b for b in around[k + 1 :] if np.linalg.norm((a - b)[:2]) < 0.51 * SIZE * 0.9]
        for b in [*ends, near] if a[2] > 0 else ends:
            t = ((columns - a[0]) * (b[0] - a[0]) + (rows - a[1]) * (b[1] - a[1])) / ((b - a)[:2] ** 2).sum()
            t = np.clip(t, 0, 1)
            distance = np.minimum(
                distance, np.hypot(columns - a[0] - t * (b[0] - a[0]), rows - a[1] - t * (b[1] - a[1]))
            )
    assert ink[distance > 2.0].max() == 0
    assert (ink[distance < 0.3] > 60).all()


def test_a_thing_before_another_has_an_outline() -> None:
    """A square before a larger one, both seen from the front: two squares of ink, nothing else."""
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    vertices = np.concatenate([0.6 * square, 0.3 * square + [0, 0, 0.4]])
    mesh = Mesh(vertices, [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    picture = drawing(mesh, cameras_from_eyes([[0, 0, 1]], distance=math.inf))
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    reach = np.maximum(np.abs(rows - SIZE / 2), np.abs(columns - SIZE / 2)) / (SIZE / 2)
    ink = picture < 255
    assert ink[np.abs(reach - 0.3) < 0.5 / SIZE].all() and ink[np.abs(reach - 0.6) < 0.5 / SIZE].all()
    assert not ink[(np.abs(reach - 0.3) > 3 / SIZE) & (np.abs(reach - 0.6) > 3 / SIZE)].any()


def test_a_slope_is_no_step() -> None:
    """A plane seen at 86 degrees, on which depth changes by fourteen samples from one sample to the next."""
    tilt = math.radians(86)
    u, v = np.array([1, 0, 0]), np.array([0, math.cos(tilt), math.sin(tilt)])
    vertices = [a * 0.9 * u + b * 0.9 * v for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    picture = drawing(
        Mesh(vertices, [[0, 1, 2], [0, 2, 3]]), cameras_from_eyes([[0, 0, 1]], distance=math.inf)
    )
    half = 0.9 * math.cos(tilt) * SIZE / 2
    inner = picture[int(SIZE / 2 - half) + 3 : int(SIZE / 2 + half) - 2, 8:-8]
    assert inner.size > 0 and (inner == 255).all()


@pytest.mark.parametrize("view", range(12))
def test_a_cylinder_has_a_rim_and_no_seams(view: int) -> None:
    """Twelve sides, and not even those that are seen almost along themselves show where they meet."""
    pipe = revolved(np.array([0.5, 0.5]), np.array([-0.7, 0.7]), 12)
    size = 224
    ring = cameras_from_eyes([[math.cos(0.2 * view), math.sin(0.2 * view), 0.4]])
    picture = render_views(pipe, ring, size=size, channels=("lines",))[0, 0]
    for row in picture[size * 2 // 5 : size * 3 // 5]:
        ink = np.flatnonzero(row < 255)
        assert len(ink) >= 4 and ((ink <= ink[0] + 3) | (ink >= ink[-1] - 3)).all()


def test_ink_is_thin_and_smooth() -> None:
    picture = drawing(sphere(60, 0.8), "box-6")
    row = picture[SIZE // 2]
    assert (row < 255).sum() <= 4
    assert (255.0 - row).sum() / 255 == pytest.approx(3.0, abs=0.6)  # two outlines of a pixel and a half
    assert len(np.unique(picture)) == 5  # no, a quarter, half, three quarters, all of the samples


def test_contours_leave_bends_out_and_outlines_also_what_hides() -> None:
    """A cube on which a smaller one stands apart: from the front, two squares, of which the outline is one."""
    front, back = cube(0.3), cube(0.6)
    vertices = np.concatenate([front.vertices + np.array([0.0, 0.0, 1.2]), back.vertices])
    mesh = Mesh(vertices, np.concatenate([front.faces, back.faces + 8]))
    above = cameras_from_eyes([[0, 0, 1]], distance=math.inf)
    aslant = cameras_from_eyes([[1, 1, 1]], distance=math.inf)
    channels = ("lines", "contours", "outline")
    lines, contours, outline = render_views(mesh, above, size=SIZE, channels=channels)[0].astype(int)
    assert np.array_equal(lines, contours)  # no bend is seen
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    reach = np.maximum(np.abs(rows - SIZE / 2), np.abs(columns - SIZE / 2)) / (SIZE / 2)
    assert (contours[np.abs(reach - 0.3) < 0.5 / SIZE] < 255).all()
    assert (outline[reach < 0.5] == 255).all() and (outline[np.abs(reach - 0.6) < 0.5 / SIZE] < 255).all()
    lines, contours, outline = render_views(cube(0.5), aslant, size=SIZE, channels=channels)[0].astype(int)
    middle = slice(SIZE // 2 - 2, SIZE // 2 + 2)
    assert lines[middle, middle].min() < 100 and contours[middle, middle].min() == 255
    assert np.array_equal(contours, outline)


@pytest.mark.parametrize("channel", ["lines", "contours", "outline"])
def test_a_channel_of_lines_is_the_same_alone_and_beside_others(channel) -> None:
    together = ("outline", "shaded", "lines", "contours")
    views = render_views(cube(0.5), size=SIZE, channels=together)
    alone = render_views(cube(0.5), size=SIZE, channels=(channel,))
    assert np.array_equal(views[:, together.index(channel)], alone[:, 0])
