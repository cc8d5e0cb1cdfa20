"""From embeddings and labels to the misplacement M and the ground distance D of the transport problem."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor


class GroundDistance(NamedTuple):
    """What a batch looks like to the transport problem."""

    M: Tensor  # misplacement of every pair, (n, m), 0 for an easy pair
    D: Tensor  # ground distance exp(-gamma M), (n, m), small for a hard pair


def pair_distances(x: Tensor, y: Tensor | None = None, *, power: Literal[1, 2] = 2) -> Tensor:
    """Euclidean distances |x_i - y_j|^power of rows, (n, m); 0 with a slope of 0 where they coincide."""
    with torch.autocast(x.device.type, enabled=False):
        x = x if x.dtype == torch.float64 else x.float()
        centre = x.detach().mean(0)
        x = x - centre
        y = x if y is None else y.to(x.dtype) - centre
        lengths = (x * x).sum(1).unsqueeze(1) + (y * y).sum(1)  # (n, m), squared
        square = (lengths - 2.0 * (x @ y.T)).clamp(min=0.0)
        if power == 2:
            return square
        # The root of the rounding of a difference that should be 0 is no small number any more.
        apart = square > 4.0 * torch.finfo(x.dtype).eps * lengths
        return torch.where(apart, square.masked_fill(~apart, 1.0).sqrt(), torch.zeros_like(square))


def misplacement(
    distances: Tensor,
    positive: Tensor,
    *,
    margin: float = 1.0,
    pos_margin: float = 0.0,
    power: Literal[1, 2] = 1,
) -> Tensor:
    """M = (distance - pos_margin)_+ ^ power of a positive pair, (margin - distance)_+ ^ power of a negative one."""
    near = distances - pos_margin if pos_margin else distances
    M = torch.where(positive, near, margin - distances).clamp(min=0.0)
    return M * M if power == 2 else M


def ground_distance(
    x: Tensor,
    labels: Tensor,
    y: Tensor | None = None,
    y_labels: Tensor | None = None,
    *,
    margin: float = 1.0,
    pos_margin: float = 0.0,
    gamma: float = 3.0,
    distance_power: Literal[1, 2] = 2,
    power: Literal[1, 2] = 1,
) -> GroundDistance:
    r"""Misplacement M and ground distance D = exp(-gamma M) of all pairs (formulas 1 and 2 of the paper).

    Args:
        x: embeddings, (n, d), as the distances are to be taken (normalise them first if that is wanted).
        labels: (n,); y: (m, d) and y_labels: (m,), or None for the batch against itself.
        margin, pos_margin, power: see :func:`batchot.batch_ot_loss`.
        gamma: how fast the ground distance falls with the misplacement, in 1 / units of M.
        distance_power: 2 for squared distances (the paper), 1 for distances.

    Returns:
        ``GroundDistance(M, D)``, both (n, m); D is in (0, 1].

    Example:
        >>> import torch
        >>> M, D = ground_distance(torch.tensor([[0.0], [0.5]]), torch.tensor([0, 1]), gamma=1.0)
        >>> M.tolist()
        [[0.0, 0.75], [0.75, 0.0]]
        >>> [round(d, 4) for d in D[0].tolist()]
        [1.0, 0.4724]
    """
    y_labels = labels if y_labels is None else y_labels
    positive = labels.unsqueeze(1) == y_labels.unsqueeze(0)
    distances = pair_distances(x, y, power=distance_power)
    M = misplacement(distances, positive, margin=margin, pos_margin=pos_margin, power=power)
    return GroundDistance(M, torch.exp(-gamma * M))
