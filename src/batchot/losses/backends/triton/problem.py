"""What the kernels are given, write into and give back. Imports no Triton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Options:
    """The options of the loss that kernels read."""

    margin: float
    pos_margin: float
    gamma: float
    lam: float
    normalize: bool
    uniform: bool  # T_ij = 1 / (number of pairs) in the place of the transport plan
    tolerance: float
    max_iterations: int
    precision: str  # of matrix products: "tf32x3" (three TF32 products, about float32) or "ieee"


@dataclass(frozen=True)
class Problem:
    """One loss to compute: raw embeddings with unit stride along a row, int64 labels, options."""

    x: Tensor  # (n, d), float32, bfloat16 or float16
    y: Tensor | None  # (m, d), None: the batch against itself without the diagonal
    lx: Tensor  # (n,)
    ly: Tensor | None  # (m,)
    need_grad: bool
    options: Options

    @property
    def n(self) -> int:
        return self.x.shape[0]

    @property
    def m(self) -> int:
        return self.n if self.y is None else self.y.shape[0]


@dataclass(frozen=True)
class Tiles:
    """Sizes of tiles, all powers of two of at least 16."""

    BM: int = 128  # rows of a tile of G = X Y^T in a pass
    BN: int = 64  # its columns
    BD: int = 32  # columns of X and Y that are multiplied at a time, at most
    gradient_BM: int = 64  # rows of a tile of G in the pass of the gradient
    gradient_BN: int = 64  # its columns
    BC: int = 128  # columns of a program's part of the gradient, at most
    pass_rows: int = 16  # rows of a program's tile of a stored K
    pass_columns: int = 256  # its columns, which lie together in memory
    step: int = 1024  # entries that a step of the scalings takes at a time

    @classmethod
    def for_size(cls, size: int) -> Tiles:
        """Tiles for a batch of that size: small ones where large ones would leave multiprocessors without work."""
        return cls() if size > 2048 else cls(BM=32, BN=64, gradient_BM=32, BC=64)

    def of_product(self, d: int) -> dict[str, Any]:
        """The compile-time values of a kernel that computes G for embeddings of dimension d."""
        return {**_product(self.BM, self.BN, self.BD, d), "num_stages": 3}

    def of_gradient(self, d: int) -> dict[str, Any]:
        """The compile-time values of the gradient's kernel, which holds a tile of G and BM x BC of the gradient."""
        width = _cover(d, self.BC)
        product = _product(self.gradient_BM, self.gradient_BN, self.BD, d)
        return {**product, "BC": width, "num_warps": _warps(self.gradient_BM * width), "num_stages": 2}


def _product(BM: int, BN: int, BD: int, d: int) -> dict[str, Any]:
    width = _cover(d, BD)
    return {"BM": BM, "BN": BN, "BD": width, "CHUNKS": -(-d // width), "num_warps": _warps(BM * BN)}


def _warps(entries: int) -> int:
    """Warps that share a tile of float32: up to 32 registers of each thread hold it."""
    return max(4, min(8, entries // 1024))


def _cover(d: int, most: int) -> int:
    """The smallest power of two from 16 that covers d, or the most that is allowed."""
    width = 16
    while width < min(d, most):
        width *= 2
    return width


class Scalings(NamedTuple):
    """diag(u) K diag(v) is the plan; all on the device of the embeddings."""

    u: Tensor  # (n,)
    v: Tensor  # (m,), the same as u for a batch against itself
    error: Tensor  # (), the marginal error left


class Result(NamedTuple):
    """What is computed, all on the device of the embeddings."""

    loss: Tensor  # ()
    error: Tensor  # (), marginal error of the plan
    grad_x: Tensor  # (n, d), dL/dx on the raw embeddings
    grad_y: Tensor  # (m, d), or (0, d) for the batch against itself


_DIFFERENCES = 9  # the last residual, and 4 differences of residuals and of images: see device.MEMORY
_FLAGS = 8


class Workspace(NamedTuple):
    """What the steps of Sinkhorn's iteration read and write; the result is u, v and the error."""

    v: Tensor  # (m,), scaling of the columns
    u: Tensor  # (n,), scaling of the rows in the pass that runs
    best_u: Tensor  # (n,), that which belongs to the final v; v itself for a batch against itself
    sums: Tensor  # (m,), K^T u
    vectors: Tensor  # (4, m), float64: log v, the best, its image, the last image
    differences: Tensor  # (9, m)
    state: Tensor  # (8,), int32: tickets, whether all is done, steps in memory and in all
    error: Tensor  # (), marginal error of the best v

    @classmethod
    def new(cls, n: int, m: int, itself: bool, device: torch.device) -> Workspace:
        """Room for a problem whose scalings begin at 1: four allocations."""
        zeros = torch.zeros(4 * m + _FLAGS, dtype=torch.float64, device=device)
        ones = torch.ones(m, dtype=torch.float32, device=device)
        rest = torch.empty(
            (_DIFFERENCES + 1) * m + (0 if itself else 2 * n), dtype=torch.float32, device=device
        )
        sums, differences, scalings = rest.split([m, _DIFFERENCES * m, 0 if itself else 2 * n])
        error = torch.empty((), dtype=torch.float32, device=device)
        u, best_u = (ones, ones) if itself else scalings.view(2, n).unbind()
        state = zeros[4 * m :].view(torch.int32)
        return cls(ones, u, best_u, sums, zeros[: 4 * m].view(4, m), differences, state, error)
