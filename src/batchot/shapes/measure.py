"""Area and volume of a mesh."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from batchot.compiling import njit
from batchot.shapes.normalize import face_normals
from batchot.shapes.shape import Floats, Ints, Mesh

_SAME = 1e-6  # of the longest extent: corners nearer than this are one
_LINES, _CLOSED = 8, 0.98  # through each patch; part of them that must cross the surface evenly often
_MOST_TESTS = 100_000_000  # of a line against a triangle: about a second


def area_and_volume(mesh: Mesh) -> tuple[float, float | None]:
    """Area of all triangles, and the volume that they enclose; ``None`` where they do not."""
    used = np.unique(mesh.faces)
    low, high = mesh.vertices[used].min(0), mesh.vertices[used].max(0)
    size = float((high - low).max())
    if not size > 0:
        return 0.0, None
    vertices = (mesh.vertices - (low + high) / 2) / size  # or sums of large numbers would round
    normals = face_normals(vertices, mesh.faces)
    area = float(np.linalg.norm(normals, axis=1).sum()) / 2 * size**2
    cells = np.round(vertices / _SAME).astype(np.int64)
    _, corners = np.unique(cells, axis=0, return_inverse=True)
    faces = corners.reshape(-1)[mesh.faces]
    distinct = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    faces, solid, normals = faces[distinct], mesh.faces[distinct], normals[distinct]
    if len(faces) < 4:
        return area, None
    volumes = np.einsum("ij,ij->i", vertices[solid[:, 0]], normals) / 6
    patches, closed = _patches(faces)
    if not closed:
        signs = _outside(vertices, solid, normals, patches)
        if signs is None:
            return area, None
        volumes = volumes * signs[patches]
    return area, abs(float(volumes.sum())) * size**3


def _patches(faces: Ints) -> tuple[Ints, bool]:
    """The patch of each face, and whether each edge is between two faces that agree on what is outside."""
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    key = np.minimum(start, end) * (faces.max() + 1) + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    forward = start < end
    firsts = np.flatnonzero(np.diff(key[order], prepend=-1))
    counts = np.diff(firsts, append=len(key))
    pairs = firsts[counts == 2]
    one, other = order[pairs], order[pairs + 1]
    agree = forward[one] != forward[other]
    links = one[agree] // 3, other[agree] // 3
    graph = coo_array((np.ones(len(links[0])), links), (len(faces), len(faces)))
    patches = connected_components(graph, directed=False)[1].astype(np.int64)
    return patches, bool((counts == 2).all() and agree.all())


def _outside(vertices: Floats, faces: Ints, normals: Floats, patches: Ints) -> Floats | None:
    """1 for each patch whose normals point outwards, -1 for the others; ``None`` where the surface is not closed."""
    count = int(patches.max()) + 1
    lines = max(_LINES, -(-200 // count))
    if lines * count * len(faces) > _MOST_TESTS:
        return None
    generator = np.random.default_rng(0)
    sizes = np.linalg.norm(normals, axis=1)
    through = np.empty((count, lines), dtype=np.int64)
    order = np.argsort(patches, kind="stable")
    ends = np.searchsorted(patches[order], np.arange(count + 1))
    for k in range(count):
        mine = order[ends[k] : ends[k + 1]]
        total = sizes[mine].sum()
        through[k] = generator.choice(mine, lines, p=sizes[mine] / total if total > 0 else None)
    weights = generator.dirichlet((1.0, 1.0, 1.0), through.size)  # of the corners: anywhere on the triangle
    ways = generator.normal(size=(through.size, 3))
    even, votes = _cross(vertices, faces, normals, through.ravel(), weights, ways)
    if even < _CLOSED * through.size:
        return None
    return np.where(votes.reshape(count, lines).sum(axis=1) >= 0, 1.0, -1.0)


@njit(cache=True)
def _cross(
    vertices: Floats, faces: Ints, normals: Floats, through: Ints, weights: Floats, ways: Floats
) -> tuple[int, Ints]:
    """How many lines cross the surface an even number of times, and whether each says that its triangle faces out."""
    even = 0
    votes = np.zeros(len(through), dtype=np.int64)
    for k in range(len(through)):
        own = through[k]
        origin = np.zeros(3)
        for corner in range(3):
            origin += weights[k, corner] * vertices[faces[own, corner]]
        way = ways[k]
        before, behind = 0, 0
        for i in range(len(faces)):
            if i == own:
                continue
            a = vertices[faces[i, 0]]
            u, v, w = vertices[faces[i, 1]] - a, vertices[faces[i, 2]] - a, origin - a
            px, py, pz = (
                way[1] * v[2] - way[2] * v[1],
                way[2] * v[0] - way[0] * v[2],
                way[0] * v[1] - way[1] * v[0],
            )
            det = u[0] * px + u[1] * py + u[2] * pz
            if det == 0.0:
                continue
            s = (w[0] * px + w[1] * py + w[2] * pz) / det
            if s < 0.0 or s > 1.0:
                continue
            qx, qy, qz = w[1] * u[2] - w[2] * u[1], w[2] * u[0] - w[0] * u[2], w[0] * u[1] - w[1] * u[0]
            t = (way[0] * qx + way[1] * qy + way[2] * qz) / det
            if t < 0.0 or s + t > 1.0:
                continue
            ahead = v[0] * qx + v[1] * qy + v[2] * qz
            if ahead > 0.0 if det > 0.0 else ahead < 0.0:
                before += 1
            else:
                behind += 1
        if (before + behind) % 2 == 1:  # its own triangle makes it even
            even += 1
            facing = way[0] * normals[own, 0] + way[1] * normals[own, 1] + way[2] * normals[own, 2] > 0.0
            clear = before % 2 == 0
            votes[k] = 1 if facing == clear else -1
    return even, votes
