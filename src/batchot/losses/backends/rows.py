"""What a solver asks of rows of a problem, whether K is stored or not: K v, half a step of its iteration, the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from batchot.losses.problem import Rows


@dataclass(frozen=True)
class Scalings:
    """u of these rows and v of all columns, such that diag(u) K diag(v) has the marginals up to the error."""

    u: np.ndarray  # (n,), in the precision of the embeddings
    v: np.ndarray  # (m,)
    error: float  # sum of the absolute errors of all marginals


@dataclass(frozen=True)
class Weighed:
    """The rows' part of the loss and of its gradient on x and y (of unit length or centred)."""

    loss: float
    grad_x: Tensor | None  # (n, d); of a batch against itself, what rows and columns give together
    grad_y: Tensor | None  # (m, d), for two batches where it was asked for


class RowBlock(Protocol):
    """Rows of K = exp(-lam exp(-gamma M)). Vectors are numpy's: they are short and go to a solver on the host."""

    rows: Rows

    def row_sums(self, v: np.ndarray) -> np.ndarray:
        """K v, float64 (n,), for v float32 (m,)."""

    def half_step(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """u = a / (K v), float32 (n,), and these rows' part of K^T u, float64 (m,)."""

    def column_sums(self, u: np.ndarray) -> np.ndarray:
        """These rows' part of K^T u, float64 (m,)."""

    def weigh(self, u: np.ndarray, v: np.ndarray, need_x: bool, need_y: bool) -> Weighed:
        """Loss and gradient of T_ij = u_i K_ij v_j (or u_i v_j for the uniform plan), u (n,), v (m,) float32."""


class Exchange(Protocol):
    """How the holders of the rows of one problem tell each other what they found."""

    def all_rows(self, part: np.ndarray) -> np.ndarray:
        """The parts of all holders one after the other: float64 (n,) to (N,)."""

    def sum(self, part: np.ndarray) -> np.ndarray:
        """The sum of the parts of all holders, float64 of any shape."""

    def sum_rows(self, part: Tensor) -> Tensor:
        """The sum of the parts of all holders, (m, d)."""


class Alone:
    """One process holds all rows."""

    def all_rows(self, part: np.ndarray) -> np.ndarray:
        return part

    def sum(self, part: np.ndarray) -> np.ndarray:
        return part

    def sum_rows(self, part: Tensor) -> Tensor:
        return part


class Unsolved(Exception):
    """The iteration did not reach the tolerance on rows that this process does not hold all of."""
