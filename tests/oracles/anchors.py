"""The loss with class anchors as plain loops in double precision."""

from __future__ import annotations

import math

from torch import Tensor

from oracles import batch_ot as naive


def loss_with_anchors(
    x: Tensor, labels: Tensor, anchors: Tensor, weight: float, *, lam: float, gamma: float, margin: float
) -> float:
    rows, y = [naive.unit(row) for row in x.double().tolist()], labels.tolist()
    points = anchors.double().tolist()

    def of(others: list[list[float]], classes: list[int], diagonal: bool) -> float:
        M = naive.misplacements(rows, y, others, classes, margin=margin)
        D = [[math.exp(-gamma * e) for e in row] for row in M]
        return naive.loss(naive.transport(D, lam, diagonal=diagonal), M)

    return (1 - weight) * of(rows, y, False) + weight * 2 * of(points, list(range(len(points))), True)
