"""Reading of point clouds by the workers of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchot.data.cloud_reading import CloudSettings, attempt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from batchot.shapes.source import ShapeSource


class CloudSeat:
    """Reads shapes as clouds; one on which it dies is tried by others and then named, which the engine sees to.

    Args:
        settings: how many points, and which.
    """

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings

    def __call__(self, source: ShapeSource) -> NDArray[np.float32] | str:
        """The points ``(points, 3)``, or why they cannot be had."""
        return attempt(source, self.settings)

    def close(self) -> None:
        """Nothing is held."""
