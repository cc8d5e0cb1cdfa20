"""Mirrored views are the views of the mirrored shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from batchot.data.augment.images import mirror_views
from batchot.shapes.render.cameras import make_cameras, mirror_order
from batchot.shapes.render.cloud import splat_depth


@pytest.mark.parametrize("name", ["box-6", "circle-12", "dodecahedron-20", "drawing-12"])
def test_as_if_the_cloud_had_been_mirrored(name: str) -> None:
    cameras = make_cameras(name)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 40, 3)).astype(np.float32)

    def views(p: np.ndarray) -> torch.Tensor:
        images = splat_depth(
            p, cameras.rotations, distance=cameras.distance, extent=cameras.extent, size=32, radius=1.3
        )
        return torch.from_numpy(images)[0, :, None].int()

    order = mirror_order(cameras.rotations)
    assert order is not None
    found = mirror_views(views(points), order)
    mirrored = [views(points * np.array(signs, np.float32)) for signs in ((-1, 1, 1), (1, -1, 1))]
    # a pixel whose centre lies on the edge of a disc may fall on either side
    differences = [((found - other).abs() > 2).float().mean().item() for other in mirrored]
    assert min(differences) < 2e-3 < max(differences)
