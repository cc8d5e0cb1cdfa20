"""Points on a surface, and few points that cover many."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from batchot.compiling import njit
from batchot.errors import ShapeError
from batchot.shapes.normalize import face_normals
from batchot.shapes.shape import Floats, Ints, Mesh, PointCloud, coordinates


def sample_surface(mesh: Mesh, n: int, seed: int = 0) -> PointCloud:
    """Points that are uniform on the surface: triangles by area, then x = (1 - sqrt r) a + sqrt r ((1 - s) b + s c).

    Args:
        mesh: the surface.
        n: how many points.
        seed: of the generator (PCG64); the same points on every run.

    Returns:
        n points with the unit normals of their triangles (by the order of the corners, so perhaps inwards).

    Raises:
        ShapeError: n below 1, a surface without area, or a cloud, which has none.

    Source:
        R. Osada et al., Shape distributions, ACM Transactions on Graphics 21(4), 2002, section 3.2.

    Example:
        >>> from batchot.shapes import Mesh, sample_surface
        >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
        >>> cloud = sample_surface(triangle, 100, seed=0)
        >>> cloud.points.shape, cloud.normals[0].tolist()
        ((100, 3), [0.0, 0.0, 1.0])
    """
    if isinstance(mesh, PointCloud):
        raise ShapeError(
            f"a cloud of {len(mesh.points):,} points has no surface to sample; take some of its points, such as "
            "cloud.points[farthest_points(cloud.points, n)]"
        )
    if n < 1:
        raise ShapeError(f"at least 1 point must be sampled, not {n}")
    scale = np.abs(mesh.vertices).max() or 1.0
    normals = face_normals(mesh.vertices / scale, mesh.faces)  # of twice the area
    areas = np.linalg.norm(normals, axis=1)  # (m,)
    edges = np.cumsum(areas)
    if not edges[-1] > 0:
        raise ShapeError(
            f"its {len(areas):,} faces have no area, so no points can be sampled; leave the shape out"
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    u, r, s = generator.random((3, n))
    # "right" and the bound keep triangles without area from being chosen, also where u * sum rounds up to sum.
    chosen = np.minimum(np.searchsorted(edges, u * edges[-1], side="right"), np.flatnonzero(areas)[-1])
    a, b, c = mesh.vertices[mesh.faces[chosen].T]  # (n, 3) each
    root, s = np.sqrt(r)[:, None], s[:, None]
    points = (1 - root) * a + root * ((1 - s) * b + s * c)
    return PointCloud(points, normals[chosen] / areas[chosen, None])


def farthest_points(points: ArrayLike, k: int, start: int = 0) -> Ints:
    """Indices (k,) of points, each the farthest from those before: i_t = argmax_i min_(s < t) |x_i - x_(i_s)|."""
    checked = coordinates(points, "points")
    if not 1 <= k <= len(checked):
        raise ShapeError(f"k must be 1 to {len(checked)}, the number of points, not {k}")
    if not 0 <= start < len(checked):
        raise ShapeError(f"start must be 0 to {len(checked) - 1}, not {start}")
    x, y, z = np.ascontiguousarray(checked.T)
    return _farthest(x, y, z, k, start)


@njit(cache=True)
def _farthest(x: Floats, y: Floats, z: Floats, k: int, start: int) -> Ints:
    n = len(x)
    chosen = np.empty(k, dtype=np.int64)
    nearest = np.full(n, np.inf)  # squared distance to the nearest chosen point
    current = start
    for t in range(k):
        chosen[t] = current
        nearest[current] = -1.0  # never chosen again, also where points coincide
        cx, cy, cz = x[current], y[current], z[current]
        # Two loops, not one: the first has no branch that the processor cannot do for several points at once.
        for i in range(n):
            dx, dy, dz = x[i] - cx, y[i] - cy, z[i] - cz
            nearest[i] = min(nearest[i], dx * dx + dy * dy + dz * dz)
        current = 0
        farthest = nearest[0]
        for i in range(1, n):
            if nearest[i] > farthest:
                farthest = nearest[i]
                current = i
    return chosen
