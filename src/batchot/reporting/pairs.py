"""The hardest pairs of a set of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

_CHUNK = 2**22  # distances at once


@dataclass(frozen=True)
class Pair:
    """Two items and how far apart they are."""

    i: int
    j: int
    distance: float  # Euclidean


def hardest_pairs(
    embeddings: Tensor, labels: Tensor, kind: Literal["positive", "negative"], k: int
) -> list[Pair]:
    """Find the positive pairs farthest apart, or the negative pairs nearest each other.

    The pairs are taken hardest first, and an item that was taken is left out of what follows: a single
    outlier would otherwise be in all of them.

    Args:
        embeddings: (n, d)
        labels: (n,)
        kind: "positive" for items of one class, "negative" for items of two
        k: at most so many pairs

    Returns:
        Pairs with i < j, hardest first.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [5.0], [1.5]])
        >>> hardest_pairs(x, torch.tensor([0, 0, 0, 1]), "positive", k=2)
        [Pair(i=0, j=2, distance=5.0)]
        >>> hardest_pairs(x, torch.tensor([0, 0, 0, 1]), "negative", k=2)
        [Pair(i=1, j=3, distance=0.5)]
    """
    x = embeddings.double()
    free = torch.ones(len(x), dtype=torch.bool)
    hardness = np.full(len(x), -np.inf)  # of the hardest pair of each row
    partner = np.full(len(x), -1)

    def search(rows: Tensor) -> None:
        for part in rows.split(max(1, _CHUNK // len(x))):
            delta = torch.cdist(x[part], x)  # (r, n)
            same = labels[part][:, None] == labels[None, :]
            wanted = (same if kind == "positive" else ~same) & free
            wanted[torch.arange(len(part)), part] = False
            score = (delta if kind == "positive" else -delta).masked_fill(~wanted, -torch.inf)
            best = score.max(dim=1)
            hardness[part.numpy()], partner[part.numpy()] = best.values.numpy(), best.indices.numpy()

    search(torch.arange(len(x)))
    pairs: list[Pair] = []
    while len(pairs) < k:
        i = int(hardness.argmax())
        if hardness[i] == -np.inf:
            break
        j = int(partner[i])
        pairs.append(Pair(min(i, j), max(i, j), abs(float(hardness[i]))))
        free[[i, j]] = False
        hardness[[i, j]] = -np.inf
        # only rows whose hardest partner is gone have to look again
        search(torch.from_numpy(np.isin(partner, (i, j)) & free.numpy()).nonzero()[:, 0])
    return pairs
