"""Cameras: from where a shape is seen, and how it is framed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_HALF = 0.01
"""Half the side of the least that fills a picture: a needle seen from its tip stays small."""


def framed(
    points: NDArray[np.float64], rotation: NDArray[np.float64], cameras: Cameras, fit: float | None
) -> tuple[NDArray[np.float64], float]:
    """Points moved so that what a camera sees of them is in the middle, and the extent with which it fills the
    picture."""
    if fit is None:
        return points, cameras.extent
    seen = points @ rotation[:2].T  # (n, 2)
    low, high = seen.min(0), seen.max(0)
    half = max(float((high - low).max()) / 2, LEAST_HALF)
    return points - (low + high) / 2 @ rotation[:2], half / (1 - 2 * fit)


def check_fit(fit: float | None, cameras: Cameras) -> None:
    """Refuse a margin that leaves no room, and cameras that cannot be moved without seeing the shape otherwise."""
    if fit is None:
        return
    if not 0 <= fit < 0.5:
        raise ValueError(f"fit must be a share of the picture in [0, 0.5), got {fit}")
    if cameras.distance != math.inf:
        raise ValueError(
            f"only views of orthographic cameras can be fitted, but {cameras.name!r} are at {cameras.distance:g}"
        )


CameraSet = Literal["circle-12", "dodecahedron-20", "box-6", "drawing-12", "drawing-18"]
CAMERA_SETS: tuple[str, ...] = get_args(CameraSet)
DEFAULT_DISTANCE = 3.0  # near enough for a perspective that is seen, far enough not to distort the shape


@dataclass(frozen=True, eq=False)
class Cameras:
    """Cameras that look at the origin from one distance with one field of view."""

    name: str  # what the pictures are called by
    # R of each camera, (v, 3, 3); the rows are right, up and back (towards the camera)
    rotations: NDArray[np.float64]
    distance: float  # from the origin to the eye; ``math.inf`` for orthographic cameras
    extent: float  # half the width of what is seen of the plane through the origin

    def __post_init__(self) -> None:
        R = np.ascontiguousarray(self.rotations, dtype=np.float64)
        if R.ndim != 3 or R.shape[1:] != (3, 3) or len(R) == 0:
            raise ValueError(f"cameras {self.name!r}: rotations must be (v, 3, 3), got {R.shape}")
        orthonormal = np.allclose(R @ R.transpose(0, 2, 1), np.eye(3), atol=1e-9)
        if not orthonormal or not np.all(np.linalg.det(R) > 0):
            raise ValueError(f"cameras {self.name!r}: every rotation must be orthonormal and right-handed")
        if not self.distance > 0:
            raise ValueError(f"cameras {self.name!r}: distance must be positive, got {self.distance}")
        if not 0 < self.extent < math.inf:
            raise ValueError(f"cameras {self.name!r}: extent must be positive and finite, got {self.extent}")
        object.__setattr__(self, "rotations", R)

    def __len__(self) -> int:
        return len(self.rotations)

    @property
    def eyes(self) -> NDArray[np.float64]:
        """Unit directions from the origin to the cameras, (v, 3)."""
        return self.rotations[:, 2]

    def project(self, points: ArrayLike, size: int) -> NDArray[np.float64]:
        """Column, row and depth of points in every picture."""
        q = np.einsum("vij,nj->vni", self.rotations, np.asarray(points, dtype=np.float64))
        s = 1.0 / (1.0 - q[..., 2] / self.distance)
        column = (s * q[..., 0] / self.extent + 1) / 2 * size
        row = (1 - s * q[..., 1] / self.extent) / 2 * size
        return np.stack([column, row, q[..., 2]], axis=-1)


def fitting_extent(distance: float) -> float:
    """The extent with which the unit sphere just fits: distance / √(distance² - 1), 1 if orthographic."""
    if not distance > 1:
        raise ValueError(f"distance must be larger than 1, the radius of the shape, got {distance}")
    return 1.0 / math.sqrt(1.0 - 1.0 / distance**2)


def cameras_from_eyes(
    eyes: ArrayLike, *, name: str = "custom", distance: float = DEFAULT_DISTANCE, extent: float | None = None
) -> Cameras:
    """Upright cameras that look at the origin from given directions."""
    directions = np.asarray(eyes, dtype=np.float64)
    if directions.ndim != 2 or directions.shape[1] != 3 or len(directions) == 0:
        raise ValueError(f"cameras {name!r}: eyes must be (v, 3), got {directions.shape}")
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise ValueError(f"cameras {name!r}: every direction must be finite and of some length")
    back = directions / lengths
    vertical = np.hypot(back[:, 0], back[:, 1]) < 1e-6
    world_up = np.where(vertical[:, None], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    right = np.cross(world_up, back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    up = np.cross(back, right)
    rotations = np.stack([right, up, back], axis=1) + 0.0  # + 0.0 makes -0.0 into 0.0
    return Cameras(name, rotations, distance, fitting_extent(distance) if extent is None else extent)


def make_cameras(name: str) -> Cameras:
    """The sets of cameras that have a name."""
    if name == "circle-12":
        return cameras_from_eyes(ring(12, elevation=30.0), name=name)
    if name == "dodecahedron-20":
        return cameras_from_eyes(_dodecahedron(), name=name)
    if name == "box-6":
        axes = [sign * axis for axis in np.eye(3) for sign in (1.0, -1.0)]
        return cameras_from_eyes(axes, name=name, distance=math.inf)
    if name == "drawing-12":
        # Nobody knows where the front of a shape is: each of the four sides has its turn.
        from_sides, between = ring(12, elevation=5.0), ring(12, elevation=20.0)
        between[::3] = from_sides[::3]
        return cameras_from_eyes(between, name=name, distance=math.inf)
    if name == "drawing-18":
        # Parts are drawn face on or lying: from above and below, and each of the four sides turned a quarter.
        standing, faces = make_cameras("drawing-12"), make_cameras("box-6").rotations
        right, up, back = faces[:4].transpose(1, 0, 2)
        lying = np.stack([-up, right, back], axis=1) + 0.0
        return replace(standing, name=name, rotations=np.concatenate([standing.rotations, faces[4:], lying]))
    raise ValueError(f"no cameras are called {name!r}; there are {', '.join(CAMERA_SETS)}")


def ring(n: int, *, elevation: float) -> NDArray[np.float64]:
    """Directions to n cameras at equal angles around z, the first above +x."""
    azimuth = np.arange(n) * (2 * math.pi / n)
    up = math.radians(elevation)
    flat = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1) * math.cos(up)
    return np.concatenate([flat, np.full((n, 1), math.sin(up))], axis=1)


def _dodecahedron() -> Sequence[Sequence[float]]:
    golden = (1 + math.sqrt(5)) / 2
    signs = (1.0, -1.0)
    cube = [(x, y, z) for x in signs for y in signs for z in signs]
    rectangle = [(a / golden, b * golden) for a in signs for b in signs]
    return [
        *cube,
        *((0.0, a, b) for a, b in rectangle),
        *((a, b, 0.0) for a, b in rectangle),
        *((b, 0.0, a) for a, b in rectangle),
    ]


def mirror_order(rotations: NDArray[np.float64]) -> tuple[int, ...] | None:
    """How cameras change places when the shape is mirrored."""
    flip = np.diag([-1.0, 1.0, 1.0])
    for world in (flip, np.diag([1.0, -1.0, 1.0])):
        wanted = flip @ rotations @ world  # (v, 3, 3), R_j for each i
        distance = np.abs(wanted[:, None] - rotations[None]).max((2, 3))  # (v, v)
        if (distance.min(1) < 1e-6).all():
            return tuple(int(j) for j in distance.argmin(1))
    return None
