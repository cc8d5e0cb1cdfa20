"""What a block of rows is given, and what can be asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from batchot.losses.settings import BatchOTSettings


@dataclass(frozen=True)
class Rows:
    """n rows of a problem with N rows and m columns; all rows where one process holds them all."""

    x: Tensor  # (n, d), of unit length or centred
    y: Tensor  # (m, d)
    x_labels: Tensor  # (n,)
    y_labels: Tensor  # (m,)
    first: int | None  # y[first:first + n] is x itself, whose own pairs carry no mass; None: two batches
    total: int  # N
    settings: BatchOTSettings

    @property
    def itself(self) -> bool:
        """Whether this is a batch against itself, so that K is symmetric."""
        return self.first is not None

    @property
    def whole(self) -> bool:
        """Whether these are all rows of a batch against itself."""
        return self.itself and len(self.x) == len(self.y)

    @property
    def row_mass(self) -> float:
        """a = 1 / N."""
        return 1.0 / self.total

    @property
    def column_mass(self) -> float:
        """b = 1 / m."""
        return 1.0 / len(self.y)


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


class Unsolved(Exception):
    """The iteration did not reach the tolerance on rows that this process does not hold all of."""
