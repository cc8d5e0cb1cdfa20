"""A shape in the middle of a picture that it fills, whatever its proportions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from batchot.shapes.cameras import Cameras

LEAST_HALF = 0.01
"""Half the side of the least that fills a picture: a needle seen from its tip stays small."""


def framed(
    points: NDArray[np.float64], rotation: NDArray[np.float64], cameras: Cameras, fit: float | None
) -> tuple[NDArray[np.float64], float]:
    """Points moved so that what a camera sees of them is in the middle, and the extent with which it fills the picture.

    They move along the picture only, so that depths, and with an orthographic camera all that is hidden, stay as they
    are.

    Args:
        points: of the shape, (n, 3).
        rotation: of the camera, (3, 3).
        cameras: to which it belongs.
        fit: share of the picture that stays free on each side; ``None``: nothing changes.

    Returns:
        The points, (n, 3), and the extent.

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.cameras import make_cameras
        >>> from batchot.shapes.framing import framed
        >>> cameras, ends = make_cameras("box-6"), np.array([[0.0, 0.5, 0.0], [0.0, 0.7, 0.0]])
        >>> points, extent = framed(ends, cameras.rotations[0], cameras, 0.25)
        >>> points.round(3).tolist(), round(extent, 3)
        ([[0.0, -0.1, 0.0], [0.0, 0.1, 0.0]], 0.2)
    """
    if fit is None:
        return points, cameras.extent
    seen = points @ rotation[:2].T  # (n, 2)
    low, high = seen.min(0), seen.max(0)
    half = max(float((high - low).max()) / 2, LEAST_HALF)
    return points - (low + high) / 2 @ rotation[:2], half / (1 - 2 * fit)


def check_fit(fit: float | None, cameras: Cameras) -> None:
    """Refuse a margin that leaves no room, and cameras that cannot be moved without seeing the shape otherwise.

    Args:
        fit: as for ``framed``.
        cameras: that are to see the shape so.

    Raises:
        ValueError: either of these.
    """
    if fit is None:
        return
    if not 0 <= fit < 0.5:
        raise ValueError(f"fit must be a share of the picture in [0, 0.5), got {fit}")
    if cameras.distance != math.inf:
        raise ValueError(
            f"only views of orthographic cameras can be fitted, but {cameras.name!r} are at {cameras.distance:g}"
        )
