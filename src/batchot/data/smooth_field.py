"""Smooth random fields: how far each place of a sheet is moved when it is bent."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WIDTH = 0.7
"""Standard deviation of a bump, cells: below, the nodes show as knots; above, fields are the same with fewer cells."""


def smooth_field(b: int, c: int, h: int, w: int, cells: int, generator: torch.Generator) -> Tensor:
    r"""Smooth Gaussian random fields of mean 0 and variance 1 at every pixel.

    .. math:: z_{rs} = \sum_{ij} U_{ri} V_{sj} \varepsilon_{ij}, \quad \sum_i U_{ri}^2 = \sum_j V_{sj}^2 = 1

    with U and V Gaussian bumps a cell apart, their standard deviation 0.7 cells.

    Args:
        b, c, h, w: shape of the fields.
        cells: along each side; values nearer to each other than a cell are alike.
        generator: CPU random number generator.

    Returns:
        Fields, float32, shape ``(b, c, h, w)``.

    Example:
        >>> import torch
        >>> from batchot.data.smooth_field import smooth_field
        >>> field = smooth_field(1000, 1, 8, 8, 3, torch.Generator().manual_seed(0))
        >>> bool((field.std(0) - 1).abs().max() < 0.1)
        True
    """
    # One node outside at each side: the border moves as freely as the middle. Two small products of matrices are all
    # that is done, where noise of the size of the sheet would have to be drawn and blurred.
    noise = torch.randn(b, c, cells + 3, cells + 3, generator=generator)
    return _bumps(h, cells) @ noise @ _bumps(w, cells).T


def _bumps(length: int, cells: int) -> Tensor:
    """Gaussian bumps at the nodes of the cells, rows of length 1, (length, cells + 3)."""
    place = (torch.arange(length) + 0.5) * (cells / length)
    node = torch.arange(-1, cells + 2)
    bumps = (-0.5 * ((place[:, None] - node) / WIDTH).square()).exp()
    return F.normalize(bumps, dim=1)
