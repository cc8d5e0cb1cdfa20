"""What the kernels are given and what they give back. Imports no Triton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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

    @property
    def d(self) -> int:
        return self.x.shape[1]

    def new_gradients(self) -> tuple[Tensor, Tensor]:
        """Room for dL/dx (n, d) and dL/dy (m, d) in float32; of no elements where not needed."""
        shape_x = self.x.shape if self.need_grad else (0, self.d)
        shape_y = self.y.shape if self.need_grad and self.y is not None else (0, self.d)
        return self.x.new_empty(shape_x, dtype=torch.float32), self.x.new_empty(shape_y, dtype=torch.float32)


class Result(NamedTuple):
    """What a path computes, all on the device of the embeddings."""

    loss: Tensor  # ()
    error: Tensor  # (), marginal error of the plan
    grad_x: Tensor  # (n, d), dL/dx on the raw embeddings
    grad_y: Tensor  # (m, d), or (0, d) for the batch against itself
