"""The rows of a transport problem as a solver asks for them, and in strips with PyTorch on any device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from batchot.losses.problem import Rows
from batchot.transport import misplacement


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


_STRIP = 1 << 24  # pairs at a time, of which a few matrices are held


class TorchRows:
    """K of a strip of rows is made where it is needed and forgotten."""

    def __init__(self, rows: Rows, strip: int = _STRIP) -> None:
        self.rows = rows
        self.height = max(1, strip // len(rows.y))
        self.x2, self.y2 = (rows.x * rows.x).sum(1), (rows.y * rows.y).sum(1)

    def _strips(self) -> Iterator[slice]:
        for i in range(0, len(self.rows.x), self.height):
            yield slice(i, min(i + self.height, len(self.rows.x)))

    def _hinge(self, i: slice) -> tuple[Tensor, Tensor]:
        """M and, as 1 and -1, the sign of its derivative with respect to the squared distance."""
        rows, s = self.rows, self.rows.settings
        d2 = (
            torch.addmm(self.y2, rows.x[i], rows.y.T, alpha=-2.0)
            .add_(self.x2[i].unsqueeze(1))
            .clamp_(min=0.0)
        )
        positive = rows.x_labels[i].unsqueeze(1) == rows.y_labels
        sign = torch.where(positive, 1.0, -1.0).to(d2.dtype)
        return misplacement(d2, positive, margin=s.margin, pos_margin=s.pos_margin), sign

    def _without_own(self, K: Tensor, i: slice) -> Tensor:
        if self.rows.first is not None:
            own = torch.arange(i.start, i.stop, device=K.device)
            K[own - i.start, own + self.rows.first] = 0.0
        return K

    def _kernel(self, M: Tensor, i: slice) -> Tensor:
        s = self.rows.settings
        return self._without_own(torch.exp(-s.lam * torch.exp(-s.gamma * M)), i)

    def _vector(self, v: np.ndarray) -> Tensor:
        return torch.from_numpy(v).to(self.rows.x)

    @torch.no_grad()
    def row_sums(self, v: np.ndarray) -> np.ndarray:
        at = self._vector(v)
        parts = [
            (self._kernel(self._hinge(i)[0], i) * at).sum(1, dtype=torch.float64) for i in self._strips()
        ]
        return torch.cat(parts).cpu().numpy()

    @torch.no_grad()
    def half_step(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at, us = self._vector(v), []
        c = torch.zeros(len(v), dtype=torch.float64, device=at.device)
        for i in self._strips():
            K = self._kernel(self._hinge(i)[0], i)
            u = (self.rows.row_mass / (K * at).sum(1, dtype=torch.float64)).to(K.dtype)
            c += (K * u.unsqueeze(1)).sum(0, dtype=torch.float64)
            us.append(u)
        return torch.cat(us).cpu().numpy(), c.cpu().numpy()

    @torch.no_grad()
    def column_sums(self, u: np.ndarray) -> np.ndarray:
        of = self._vector(u)
        c = torch.zeros(len(self.rows.y), dtype=torch.float64, device=of.device)
        for i in self._strips():
            c += (self._kernel(self._hinge(i)[0], i) * of[i].unsqueeze(1)).sum(0, dtype=torch.float64)
        return c.cpu().numpy()

    @torch.no_grad()
    def weigh(self, u: np.ndarray, v: np.ndarray, need_x: bool, need_y: bool) -> Weighed:
        rows, at, of = self.rows, self._vector(v), self._vector(u)
        grad_x = torch.empty_like(rows.x) if need_x else None
        grad_y = torch.zeros_like(rows.y) if need_y and not rows.itself else None
        loss = torch.zeros((), dtype=torch.float64, device=rows.x.device)
        for i in self._strips():
            M, sign = self._hinge(i)
            uv = of[i].unsqueeze(1) * at
            T = self._without_own(uv, i) if rows.settings.plan == "uniform" else uv * self._kernel(M, i)
            loss += 0.5 * (T * M).sum(dtype=torch.float64)
            w = T.mul_(sign).mul_(M > 0.0).mul_(0.5)
            x = rows.x[i]
            if grad_x is not None:
                grad_x[i] = w.sum(1, keepdim=True) * x - w @ rows.y
            if grad_y is not None:
                grad_y += w.sum(0).unsqueeze(1) * rows.y - w.T @ x
        if grad_x is not None:
            grad_x.mul_(4.0 if rows.itself else 2.0)
        return Weighed(float(loss), grad_x, None if grad_y is None else grad_y.mul_(2.0))
