"""Depth images of point clouds: every point is a disc that faces the camera, and the nearest one is seen."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from batchot.compiling import njit


def splat_depth(
    points: NDArray[np.float32],
    rotations: NDArray[np.float64],
    *,
    distance: float = math.inf,
    extent: float = 1.0,
    size: int = 64,
    radius: float = 1.5,
) -> NDArray[np.uint8]:
    r"""Depth images of several point clouds from several cameras.

    A point :math:`p` lies at :math:`q = R p` before a camera and is seen at column
    :math:`(s q_x / e + 1) h / 2` and row :math:`(1 - s q_y / e) h / 2` with
    :math:`s = d / (d - q_z)`. Its grey value is 128 for depth :math:`q_z = 0`, 255 for :math:`q_z = 1` and
    1 for :math:`q_z = -1`; 0 is the background.

    Args:
        points: shape ``(b, n, 3)``; in the unit sphere, so that nothing is cut off.
        rotations: R of each camera, its rows are right, up and back, shape ``(v, 3, 3)``.
        distance: d of the eye from the origin; infinite for orthographic cameras.
        extent: e, half the width of the plane through the origin that is seen.
        size: h, height and width of an image, pixels.
        radius: of the discs, pixels.

    Returns:
        Images, shape ``(b, v, size, size)``.

    Raises:
        ValueError: on other shapes, an eye within the unit sphere, a size or radius that is not positive.

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.splat import splat_depth
        >>> front = np.eye(3)[None]
        >>> splat_depth(np.zeros((1, 1, 3), np.float32), front, size=4, radius=0.8)[0, 0]
        array([[  0,   0,   0,   0],
               [  0, 128, 128,   0],
               [  0, 128, 128,   0],
               [  0,   0,   0,   0]], dtype=uint8)
    """
    if points.ndim != 3 or points.shape[2] != 3:
        raise ValueError(f"points must have shape (b, n, 3), got {points.shape}")
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3):
        raise ValueError(f"rotations must have shape (v, 3, 3), got {rotations.shape}")
    if size < 1 or not radius > 0 or not extent > 0:
        raise ValueError(f"size, radius and extent must be positive, got {size}, {radius} and {extent}")
    if not distance > 1:
        raise ValueError(f"the eye must be outside the unit sphere, got distance {distance}")
    images = np.zeros((len(points), len(rotations), size, size), np.uint8)
    _splat(
        np.ascontiguousarray(points, np.float32),
        np.ascontiguousarray(rotations, np.float32),
        np.float32(0 if math.isinf(distance) else 1 / distance),
        np.float32(1 / extent),
        np.float32(radius),
        images,
    )
    return images


@njit(cache=True, nogil=True)
def _splat(points, rotations, inverse_distance, inverse_extent, radius, images):  # type: ignore[no-untyped-def]
    b, n = points.shape[:2]
    v, size = images.shape[1:3]
    one, half = np.float32(1), np.float32(size / 2)
    reach = radius * radius
    for job in range(b * v):
        shape, view = job // v, job % v
        image = images[shape, view]
        r = rotations[view]
        for i in range(n):
            x, y, z = points[shape, i, 0], points[shape, i, 1], points[shape, i, 2]
            qz = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
            s = inverse_extent / (one - inverse_distance * qz)
            column = ((r[0, 0] * x + r[0, 1] * y + r[0, 2] * z) * s + one) * half
            row = (one - (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z) * s) * half
            grey = min(max(np.float32(128.5) + np.float32(127) * qz, one), np.float32(255))
            value = np.uint8(grey)
            top = max(math.ceil(row - radius - 0.5), 0)
            bottom = min(math.floor(row + radius - 0.5), size - 1)
            left = max(math.ceil(column - radius - 0.5), 0)
            right = min(math.floor(column + radius - 0.5), size - 1)
            for k in range(top, bottom + 1):
                dy = np.float32(k + 0.5) - row
                for j in range(left, right + 1):
                    dx = np.float32(j + 0.5) - column
                    if dx * dx + dy * dy <= reach and image[k, j] < value:
                        image[k, j] = value
