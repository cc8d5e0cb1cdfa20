"""The formulas of the loss as plain loops in double precision, written without looking at the package."""

from __future__ import annotations

import math
from collections.abc import Sequence

Matrix = list[list[float]]


def unit(x: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(c * c for c in x))
    return [c / length for c in x]


def misplacements(
    x: Sequence[Sequence[float]],
    lx: Sequence[int],
    y: Sequence[Sequence[float]],
    ly: Sequence[int],
    margin: float = 1.0,
    pos_margin: float = 0.0,
    distance_power: int = 2,
    power: int = 1,
) -> Matrix:
    out = []
    for p, lp in zip(x, lx, strict=True):
        row = []
        for q, lq in zip(y, ly, strict=True):
            delta = math.dist(p, q) ** distance_power
            h = max(0.0, delta - pos_margin) if lp == lq else max(0.0, margin - delta)
            row.append(h**power)
        out.append(row)
    return out


def transport(D: Matrix, lam: float, diagonal: bool = True, steps: int = 20_000) -> Matrix:
    n, m = len(D), len(D[0])
    K = [[math.exp(-lam * D[i][j]) if diagonal or i != j else 0.0 for j in range(m)] for i in range(n)]
    u, v = [1.0] * n, [1.0] * m
    for _ in range(steps):
        u = [1.0 / n / sum(K[i][j] * v[j] for j in range(m)) for i in range(n)]
        new = [1.0 / m / sum(K[i][j] * u[i] for i in range(n)) for j in range(m)]
        change = max(abs(p - q) / p for p, q in zip(v, new, strict=True))
        v = new
        if change < 1e-14:
            break
    return [[u[i] * K[i][j] * v[j] for j in range(m)] for i in range(n)]


def uniform(n: int, m: int, diagonal: bool = True) -> Matrix:
    pairs = n * m if diagonal else n * m - n
    return [[1.0 / pairs if diagonal or i != j else 0.0 for j in range(m)] for i in range(n)]


def loss(T: Matrix, M: Matrix) -> float:
    return 0.5 * sum(t * d for row, other in zip(T, M, strict=True) for t, d in zip(row, other, strict=True))


def gradient(
    x: Sequence[Sequence[float]],
    lx: Sequence[int],
    y: Sequence[Sequence[float]],
    ly: Sequence[int],
    T: Matrix,
    margin: float,
) -> Matrix:
    """dL/dx_i as the paper prints it: T_ij (x_i - y_j) from positives, minus that from negatives in the margin."""
    out = []
    for i, p in enumerate(x):
        g = [0.0] * len(p)
        for j, q in enumerate(y):
            sign = 1.0 if lx[i] == ly[j] else (-1.0 if math.dist(p, q) ** 2 < margin else 0.0)
            for d in range(len(p)):
                g[d] += sign * T[i][j] * (p[d] - q[d])
        out.append(g)
    return out
