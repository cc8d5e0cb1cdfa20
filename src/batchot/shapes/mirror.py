"""What mirroring a shape does to its views."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mirror_order(rotations: NDArray[np.float64]) -> tuple[int, ...] | None:
    """How cameras change places when the shape is mirrored.

    With M = diag(-1, 1, 1) or diag(1, -1, 1) in the world and F = diag(-1, 1, 1) in the picture, camera i sees
    of the mirrored shape what camera j sees of the shape, mirrored left to right, when R_i M = F R_j.

    Args:
        rotations: of the cameras, rows right, up and back, shape (v, 3, 3).

    Returns:
        j for each i; None where the cameras are not symmetric about either plane.

    Example:
        >>> from batchot.shapes.cameras import make_cameras
        >>> from batchot.shapes.mirror import mirror_order
        >>> mirror_order(make_cameras("box-6").rotations)
        (1, 0, 2, 3, 4, 5)
        >>> mirror_order(make_cameras("circle-12").rotations[:3]) is None
        True
    """
    flip = np.diag([-1.0, 1.0, 1.0])
    for world in (flip, np.diag([1.0, -1.0, 1.0])):
        wanted = flip @ rotations @ world  # (v, 3, 3), R_j for each i
        distance = np.abs(wanted[:, None] - rotations[None]).max((2, 3))  # (v, v)
        if (distance.min(1) < 1e-6).all():
            return tuple(int(j) for j in distance.argmin(1))
    return None
