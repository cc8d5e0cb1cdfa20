"""A small picture of each sample of a set, whatever the samples are."""

from __future__ import annotations

import torch
from torch import Tensor

from batchot.data import Images, Samples
from batchot.reporting.material import shrink

_EYE = (1.0, -0.8, 0.7)  # from the front, the right and above, where chairs and cars show most of themselves
_SIDE = 96
_AT_ONCE = 100


def thumbnails_of(samples: Samples) -> Tensor:
    """Give a small picture of each sample: the image, one view of the views, a drawing of the cloud."""
    if isinstance(samples, Images):
        return samples.images
    parts = []
    for indices in torch.arange(len(samples)).split(_AT_ONCE):
        batch = samples.batch(indices)
        if batch.ndim == 4:  # pictures already, such as drawings
            parts.append(shrink(batch, side=_SIDE))
        else:
            parts.append(_of_clouds(batch) if batch.ndim == 3 else _of_views(batch))
    return torch.cat(parts)


def _of_views(views: Tensor) -> Tensor:
    # of a ring of cameras around the shape the second one sees it from the front and the side
    return shrink(views[:, min(1, views.shape[1] - 1), :1].contiguous(), side=_SIDE)


def _of_clouds(points: Tensor) -> Tensor:
    from batchot.shapes.render.cameras import cameras_from_eyes
    from batchot.shapes.render.cloud import splat_depth

    camera = cameras_from_eyes([_EYE])
    depth = splat_depth(
        points.numpy(),
        camera.rotations,
        distance=camera.distance,
        extent=camera.extent,
        size=_SIDE,
        radius=1.8,
    )
    grey = torch.from_numpy(depth)
    # near points dark, as on paper, and the background white
    return torch.where(grey == 0, torch.full_like(grey, 255), (225 - 0.8 * grey.float()).to(torch.uint8))
