from __future__ import annotations

import math

import numpy as np
import pytest

from batchot.shapes.render.cameras import Cameras, cameras_from_eyes, make_cameras
from batchot.shapes.render.mesh import LANES, LEVELS, facets, fill, project
from batchot.shapes.render.render import render_views
from batchot.shapes.shape import Mesh
from oracles.rendering import cast_rays, clear_pixels, grey_of
from oracles.solids import cube, soup, sphere


def levels(mesh: Mesh, cameras: Cameras, samples: int, view: int = 0) -> tuple[np.ndarray, float, float]:
    """Depth levels of one view, with the face's number + 1 below them, and the depths of the first and last."""
    parts = facets(mesh)
    n, m = len(parts.vertices), len(parts.ordered)
    corners, cells = np.empty((3, n), np.float32), np.empty((2, n), np.int32)
    low, high, _, _ = project(
        parts.vertices, cameras.rotations[view], cameras.distance, cameras.extent, samples, corners, cells
    )
    buffer = np.zeros(samples * samples + LANES, np.uint64)
    fill(parts.ordered, corners, cells, np.arange(1, m + 1, dtype=np.uint64), samples, buffer)
    assert not buffer[samples * samples :].any()
    return buffer[: samples * samples].reshape(samples, samples), low, high


@pytest.mark.parametrize("name", ["circle-12", "box-6"])
@pytest.mark.parametrize("mesh", [soup(25, 1), cube(0.55), sphere(5, 0.9)], ids=["soup", "cube", "sphere"])
def test_sees_what_rays_hit(mesh: Mesh, name: str) -> None:
    size, view = 33, 1
    cameras = make_cameras(name)
    face, depth = cast_rays(mesh, cameras, view, size)
    clear = clear_pixels(mesh, cameras, view, size)
    assert clear.mean() > 0.8
    buffer, low, high = levels(mesh, cameras, size, view)
    seen = (buffer & np.uint64(0xFFFFFFFF)).astype(np.int64) - 1
    np.testing.assert_array_equal(seen[clear], face[clear])
    hit = clear & (face >= 0)
    t = low + ((buffer >> np.uint64(40)).astype(float) - 1) * (high - low) / LEVELS
    z = t if math.isinf(cameras.distance) else cameras.distance - cameras.distance / np.where(t == 0, 1, t)
    # the corners are rounded to a 512th of a sample, which on a steep face is a little depth
    np.testing.assert_allclose(z[hit], depth[hit], atol=5e-3)
    assert np.abs(z[hit] - depth[hit]).mean() < 3e-4
    shaded = render_views(mesh, cameras, size=size, antialias=1)[view, 0]
    expected = grey_of(mesh, face[hit], cameras.eyes[view])
    np.testing.assert_allclose(shaded[hit], expected, atol=0.51)
    assert (shaded[clear & (face < 0)] == 255).all()


def test_neighbours_neither_overlap_nor_leave_gaps() -> None:
    """A square cut into triangles through random points covers every sample once."""
    rng = np.random.default_rng(5)
    samples, cells = 64, 8
    x, y = np.meshgrid(np.linspace(-1, 1, cells + 1), np.linspace(-1, 1, cells + 1))
    inner = (np.abs(x) < 1) & (np.abs(y) < 1)
    for snapped in (False, True):  # on samples and between them
        jitter = rng.uniform(-0.06, 0.06, (2, *x.shape))
        if snapped:  # sample centres are odd multiples of 1 / 64
            jitter = (2 * rng.integers(-2, 2, (2, *x.shape)) + 1) / 64
        grid = np.stack([x + jitter[0] * inner, y + jitter[1] * inner, 0 * x], axis=-1).reshape(-1, 3)
        k = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
        a, b, c, d = (v.ravel() for v in (k[:-1, :-1], k[:-1, 1:], k[1:, 1:], k[1:, :-1]))
        faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
        cameras = cameras_from_eyes([[0, 0, 1]], distance=math.inf, extent=1.0)
        covered = np.zeros((samples, samples), int)
        for f in range(len(faces)):
            covered += levels(Mesh(grid, faces[f : f + 1]), cameras, samples)[0] > 0
        assert (covered == 1).all()
        assert (levels(Mesh(grid, faces), cameras, samples)[0] > 0).all()


def test_few_and_many_samples_follow_one_rule() -> None:
    """Small triangles are tried sample by sample, larger ones in scan lines; at edges on samples both agree."""
    samples = 16
    cameras = cameras_from_eyes([[0, 0, 1]], distance=math.inf, extent=1.0)

    def corners(*places: tuple[float, float]) -> np.ndarray:
        return np.array([[(c + 0.5) / 8 - 1, 1 - (r + 0.5) / 8, 0] for c, r in places])

    square = corners((3, 3), (5, 3), (5, 5), (3, 5))
    small = sum(
        (levels(Mesh(square, [t]), cameras, samples)[0] > 0).astype(int) for t in ([0, 1, 2], [0, 2, 3])
    )
    assert np.argwhere(small).tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]] and small.max() == 1
    square = corners((3, 3), (9, 3), (9, 9), (3, 9))
    large = sum(
        (levels(Mesh(square, [t]), cameras, samples)[0] > 0).astype(int) for t in ([0, 1, 2], [0, 2, 3])
    )
    assert large.max() == 1 and large.sum() == 36 and large[3, 3] == 1 and large[9, 9] == 0


def test_of_two_faces_on_one_place_the_same_wins() -> None:
    """Two flat pieces in one plane, of other triangles: which is seen does not depend on the order."""
    mesh = cube(0.5)
    a = render_views(mesh, "circle-12", size=32)
    b = render_views(
        Mesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces[:, ::-1]])), "circle-12", size=32
    )
    np.testing.assert_array_equal(a, b)


def test_edge_on_faces_are_not_seen() -> None:
    """From the front the sides of a cube are lines, and its picture is one grey."""
    views = render_views(cube(0.5), "box-6", size=50, antialias=1)
    assert set(np.unique(views)) == {220, 255}
    assert ((views == 220).sum(axis=(1, 2, 3)) == 25 * 25).all()


def test_slivers_stay_within_their_corners() -> None:
    """A sliver's depth changes by more than the whole shape from one sample to the next."""
    rng = np.random.default_rng(2)
    middle, way = rng.uniform(-0.6, 0.6, (3000, 1, 2)), rng.normal(0, 0.2, (3000, 1, 2))
    places = middle + np.array([-1.0, 0.3, 1.0])[:, None] * way + rng.normal(0, 1e-3, (3000, 3, 2))
    corners = np.concatenate([places, rng.uniform(-0.5, 0.5, (3000, 3, 1))], axis=2)
    mesh = Mesh(corners.reshape(-1, 3), np.arange(9000).reshape(-1, 3))
    cameras = cameras_from_eyes([[0, 0, 1], [0, 0, -1]], distance=math.inf)
    depth = render_views(mesh, cameras, size=64, channels=("depth",), antialias=1)[:, 0]
    assert (depth > 0).mean() > 0.1
    assert depth[depth > 0].min() >= int(128.5 - 63.5) and depth.max() <= int(128.5 + 63.5)
    beside = [
        [5, 0, -0.9],
        [5, 1, 0.9],
        [6, 0, 0],
    ]  # out of the picture, so that depth reaches farther than it
    alone = [
        render_views(
            Mesh([*c, *beside], [[0, 1, 2], [3, 4, 5]]), cameras, size=64, channels=("depth",), antialias=1
        )[:, 0]
        for c in corners[:150]
    ]
    for c, picture in zip(corners, alone, strict=False):
        for view, sign in enumerate((1, -1)):
            z = (picture[view][picture[view] > 0].astype(float) - 128) / 127
            limits = np.sort(sign * c[[np.argmin(c[:, 2]), np.argmax(c[:, 2])], 2])
            assert ((z >= limits[0] - 0.005) & (z <= limits[1] + 0.005)).all()
