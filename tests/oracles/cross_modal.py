"""The cross-modal loss as plain loops in double precision, written without looking at the package."""

from __future__ import annotations

import math

from oracles import batch_ot as naive

Rows = list[list[float]]
Batch = tuple[Rows, list[int]]


def block(x: Batch, y: Batch | None, plan: str, lam: float, gamma: float, **m: float) -> float:
    """One term: x against y, or against itself without the diagonal."""
    itself = y is None
    y = x if y is None else y
    M = naive.misplacements(x[0], x[1], y[0], y[1], **m)
    if plan == "uniform":
        T = naive.uniform(len(M), len(M[0]), diagonal=not itself)
    else:
        D = [[math.exp(-gamma * e) for e in row] for row in M]
        T = naive.transport(D, lam, diagonal=not itself)
    return naive.loss(T, M)


def halves(x: Batch) -> tuple[Batch, Batch]:
    cut = math.ceil(len(x[0]) / 2)
    return (x[0][:cut], x[1][:cut]), (x[0][cut:], x[1][cut:])


def terms(
    batches: dict[str, Batch], four: bool, plan: str, lam: float, gamma: float, **m: float
) -> dict[str, float]:
    """Every term by name, for two modalities."""
    (a, x), (b, y) = batches.items()
    options = {"plan": plan, "lam": lam, "gamma": gamma, **m}
    if not four:
        return {
            f"{a}/{a}": block(x, None, **options),
            f"{b}/{b}": block(y, None, **options),
            f"{a}/{b}": block(x, y, **options),
        }
    (x, other_x), (y, other_y) = halves(x), halves(y)
    return {
        f"{a}/{a}'": block(x, other_x, **options),
        f"{b}/{b}'": block(y, other_y, **options),
        f"{a}/{b}": block(x, y, **options),
        f"{a}'/{b}'": block(other_x, other_y, **options),
    }
