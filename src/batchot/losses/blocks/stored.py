"""Rows whose K is kept in memory, on a CPU: the fastest where it fits."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import torch

from batchot.losses import kernels
from batchot.losses.blocks.options import Options, labels_of, squares
from batchot.losses.blocks.rows import Rows, Weighed
from batchot.losses.blocks.tiled import row_runner


class StoredRows:
    """G = X Y^T and K, float32 (n, m) each, from matrix products and compiled loops."""

    def __init__(self, rows: Rows, stack: ExitStack) -> None:
        self.rows = rows
        n, m = len(rows.x), len(rows.y)
        self.over_rows = row_runner(n, m, stack)
        self.G = torch.mm(rows.x, rows.y.T).numpy()
        self.x2 = squares(rows.x)
        self.y2 = self.x2 if rows.whole else squares(rows.y)
        self.lx, self.ly = labels_of(rows)
        self.options = Options.of(rows.settings)
        self.diagonal = kernels.NO_DIAGONAL if rows.first is None else rows.first
        self.K = np.empty((n, m), np.float32)
        o = self.options
        if not o.uniform:
            self.over_rows(
                lambda i, j: kernels.kernel_rows(
                    self.G,
                    self.x2,
                    self.y2,
                    self.lx,
                    self.ly,
                    *o.cost,
                    *o.kernel,
                    self.diagonal,
                    i,
                    j,
                    self.K,
                )
            )

    def row_sums(self, v: np.ndarray) -> np.ndarray:
        r = np.empty(len(self.K))
        self.over_rows(lambda i, j: kernels.matvec_rows(self.K, v, i, j, r))
        return r

    def half_step(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, m = self.K.shape
        u, r = np.empty(n, np.float32), np.empty(n)

        def part(i: int, j: int) -> np.ndarray:
            c = np.zeros(m)
            kernels.half_step_rows(self.K, v, self.rows.row_mass, i, j, u, r, c, np.empty(m, np.float32))
            return c

        return u, np.sum(self.over_rows(part), axis=0)

    def column_sums(self, u: np.ndarray) -> np.ndarray:
        sums: np.ndarray = torch.mv(torch.from_numpy(self.K).T, torch.from_numpy(u)).double().numpy()
        return sums

    def weigh(self, u: np.ndarray, v: np.ndarray, need_x: bool, need_y: bool) -> Weighed:
        n, m = self.K.shape
        rows, o = self.rows, self.options
        rho = np.empty(n, np.float32)
        columns = 0 if rows.itself or not need_y else m
        parts: list[np.ndarray] = []

        def part(i: int, j: int) -> float:
            kappa = np.zeros(columns)
            parts.append(kappa)
            loss: float = kernels.weight_rows(
                self.G, self.x2, self.y2, self.lx, self.ly, *o.cost, u, v, self.diagonal, o.uniform, i, j, self.K,
                rho, kappa,
            )  # fmt: skip
            return loss

        loss = sum(self.over_rows(part))
        w, grad_x, grad_y = torch.from_numpy(self.K), None, None
        if need_x:
            grad_x = torch.addmm(torch.from_numpy(rho).unsqueeze(1) * rows.x, w, rows.y, alpha=-1.0)
            grad_x.mul_(4.0 if rows.itself else 2.0)  # w is symmetric: columns give what rows give
        if columns:
            kappa = torch.from_numpy(np.sum(parts, axis=0).astype(np.float32))
            grad_y = torch.addmm(kappa.unsqueeze(1) * rows.y, w.T, rows.x, alpha=-1.0).mul_(2.0)
        return Weighed(loss, grad_x, grad_y)
