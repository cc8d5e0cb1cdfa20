"""Blocks of rows computed tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchot.compiling import njit
from batchot.losses import kernels
from batchot.losses.blocks.options import Options, labels_of, squares
from batchot.losses.blocks.rows import Rows, Weighed
from batchot.losses.kernels import _dot, _exp

THREADED_PAIRS = 1 << 21  # below, handing work to threads in every step costs more than they save

RowRunner = Callable[[Callable[[int, int], Any]], list[Any]]


def row_runner(n: int, m: int, stack: ExitStack) -> RowRunner:
    """A function that applies work(first, last) to all n rows: at once, or shared among torch's number of threads."""
    threads = min(torch.get_num_threads(), n)
    if n * m < THREADED_PAIRS or threads == 1:
        return lambda work: [work(0, n)]
    # Threads of this call alone: nothing is left over that a fork or a second caller could trip on.
    pool = stack.enter_context(ThreadPoolExecutor(threads))
    edges = np.linspace(0, n, threads + 1).astype(int).tolist()
    return lambda work: list(pool.map(work, edges[:-1], edges[1:]))


# numba keeps compiled code by the date of the file that it stands in: touch this one after a change
# to one that it imports.

_FAST = {"reassoc", "contract", "nsz"}  # lets sums and products be vectorised; NaN and Inf keep their meaning
_CHUNK = 256  # columns at a time: their K stays in the nearest cache
_FLUSH = 32  # rows whose column sums are gathered in float32 before they go to float64
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)


@njit(inline="always", fastmath=_FAST)
def _kernel(g, xi, y2, li, ly, margin, pos_margin, gamma, lam, k):  # type: ignore[no-untyped-def]
    """K of one row and a chunk of columns."""
    for j in range(g.shape[0]):
        d2 = max(xi + y2[j] - _TWO * g[j], _ZERO)
        M = max(d2 - pos_margin if li == ly[j] else margin - d2, _ZERO)
        k[j] = _exp(-lam * _exp(-gamma * M))


@njit(inline="always", fastmath=_FAST)
def _add(s, k, out):  # type: ignore[no-untyped-def]
    for j in range(k.shape[0]):
        out[j] += s * k[j]


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def kernel_sums(G, x2, y2, lx, ly, margin, pos_margin, gamma, lam, diagonal, u, v, first, last, r, c):  # type: ignore[no-untyped-def]
    """r_i += sum_j K_ij v_j and c_j += sum_i u_i K_ij for rows first..last, without keeping K."""
    m = G.shape[1]
    k = np.empty(_CHUNK, np.float32)
    part = np.zeros(c.shape[0], np.float32)
    for i in range(first, last):
        total = 0.0
        for start in range(0, m, _CHUNK):
            stop = min(start + _CHUNK, m)
            chunk = k[: stop - start]
            _kernel(
                G[i, start:stop], x2[i], y2[start:stop], lx[i], ly[start:stop], margin, pos_margin, gamma, lam, chunk
            )  # fmt: skip
            if start <= i + diagonal < stop:
                chunk[i + diagonal - start] = _ZERO
            total += _dot(chunk, v[start:stop])
            if c.shape[0] > 0:
                _add(u[i], chunk, part[start:stop])
        r[i] += total
        if c.shape[0] > 0 and ((i - first) % _FLUSH == _FLUSH - 1 or i == last - 1):
            for j in range(m):
                c[j] += part[j]
                part[j] = _ZERO


_ROWS, _COLUMNS = 256, 2048  # of a tile: with its K it stays in the caches
_STRIP = 1 << 24  # pairs whose K is kept for half a step of the iteration, which reads it twice


@dataclass(frozen=True)
class _Tile:
    i: slice
    j: slice
    twice: bool  # it stands for its mirror image below the diagonal too

    @property
    def shape(self) -> tuple[int, int]:
        return self.i.stop - self.i.start, self.j.stop - self.j.start


class TiledRows:
    """The block of :class:`~batchot.losses.blocks.stored.StoredRows` without its matrices."""

    def __init__(self, rows: Rows, stack: ExitStack) -> None:
        self.rows = rows
        self.n, self.m = len(rows.x), len(rows.y)
        self._run = row_runner(_ROWS, self.m, stack)
        self.x2 = squares(rows.x)
        self.y2 = self.x2 if rows.whole else squares(rows.y)
        self.lx, self.ly = labels_of(rows)
        self.options = Options.of(rows.settings)
        self._G = torch.empty(_ROWS * _COLUMNS, device="cpu")
        self._W = np.empty(_ROWS * _COLUMNS, np.float32)

    def _tiles(self) -> Iterator[_Tile]:
        for i in range(0, self.n, _ROWS):
            below = min(i + _ROWS, self.n)
            left = 0
            if self.rows.whole:
                yield _Tile(slice(i, below), slice(i, below), twice=False)
                left = below
            for j in range(left, self.m, _COLUMNS):
                yield _Tile(slice(i, below), slice(j, min(j + _COLUMNS, self.m)), twice=self.rows.whole)

    def _over(self, n: int, work: Callable[[int, int], Any]) -> list[Any]:
        """Apply work(first, last) to n rows of a tile, shared among threads."""
        return self._run(lambda first, last: work(min(first, n), min(last, n)))

    def _problem(self, tile: _Tile) -> tuple[tuple[Any, ...], tuple[Any, ...], int]:
        """G and what goes with it as the loops take it, gamma and lam, and the diagonal. The next tile overwrites G."""
        i, j = tile.i, tile.j
        G = self._G[: tile.shape[0] * tile.shape[1]].view(tile.shape)
        torch.mm(self.rows.x[i], self.rows.y[j].T, out=G)
        first = self.rows.first
        cost = (G.numpy(), self.x2[i], self.y2[j], self.lx[i], self.ly[j], *self.options.cost)
        return cost, self.options.kernel, kernels.NO_DIAGONAL if first is None else first + i.start - j.start

    def row_sums(self, v: np.ndarray) -> np.ndarray:
        sums = np.zeros(self.n)
        u = v if self.rows.whole else np.zeros(self.n, np.float32)
        for tile in self._tiles():
            self._add_sums(tile, u, v, sums[tile.i], sums[tile.j] if tile.twice else None)
        return sums

    def column_sums(self, u: np.ndarray) -> np.ndarray:
        if self.rows.whole:
            return self.row_sums(u)
        sums, v, unread = np.zeros(self.m), np.zeros(self.m, np.float32), np.zeros(self.n)
        for tile in self._tiles():
            self._add_sums(tile, u, v, unread[tile.i], sums[tile.j])
        return sums

    def _add_sums(
        self, tile: _Tile, u: np.ndarray, v: np.ndarray, of_rows: np.ndarray, of_columns: np.ndarray | None
    ) -> None:
        """Add K v and K^T u of a tile."""
        cost, kernel, diagonal = self._problem(tile)
        ui, vj = u[tile.i], v[tile.j]

        def part(first: int, last: int) -> np.ndarray:
            c = np.zeros(0 if of_columns is None else tile.shape[1])
            kernel_sums(*cost, *kernel, diagonal, ui, vj, first, last, of_rows, c)
            return c

        for c in self._over(tile.shape[0], part):
            if of_columns is not None:
                of_columns += c

    def half_step(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u, c = np.empty(self.n, np.float32), np.zeros(self.m)
        height = max(1, min(_ROWS, _STRIP // self.m))
        strip = np.empty((height, self.m), np.float32)
        for start in range(0, self.n, height):
            i = slice(start, min(start + height, self.n))
            K = strip[: i.stop - i.start]
            for j in range(0, self.m, _COLUMNS):
                self._keep(_Tile(i, slice(j, min(j + _COLUMNS, self.m)), twice=False), K)
            self._add_half_step(K, v, u[i], c)
        return u, c

    def _keep(self, tile: _Tile, strip: np.ndarray) -> None:
        cost, kernel, diagonal = self._problem(tile)
        K = strip[:, tile.j]
        self._over(len(K), lambda i, j: kernels.kernel_rows(*cost, *kernel, diagonal, i, j, K))

    def _add_half_step(self, K: np.ndarray, v: np.ndarray, u: np.ndarray, c: np.ndarray) -> None:
        r = np.empty(len(K))

        def part(first: int, last: int) -> np.ndarray:
            sums = np.zeros(self.m)
            kernels.half_step_rows(
                K, v, self.rows.row_mass, first, last, u, r, sums, np.empty(self.m, np.float32)
            )
            return sums

        for sums in self._over(len(K), part):
            c += sums

    def weigh(self, u: np.ndarray, v: np.ndarray, need_x: bool, need_y: bool) -> Weighed:
        rows = self.rows
        grad_x = torch.zeros_like(rows.x) if need_x else None
        grad_y = torch.zeros_like(rows.y) if need_y and not rows.itself else None
        loss = sum(
            self._weigh(tile, u, v, grad_x, grad_x if tile.twice else grad_y) for tile in self._tiles()
        )
        if grad_x is not None:
            grad_x.mul_(4.0 if rows.itself else 2.0)
        return Weighed(loss, grad_x, None if grad_y is None else grad_y.mul_(2.0))

    def _weigh(
        self, tile: _Tile, u: np.ndarray, v: np.ndarray, of_rows: Tensor | None, of_columns: Tensor | None
    ) -> float:
        """Loss of a tile; its gradient (half of it, for a batch against itself) is added to what is given."""
        cost, kernel, diagonal = self._problem(tile)
        uniform = self.options.uniform
        W = self._W[: tile.shape[0] * tile.shape[1]].reshape(tile.shape)
        rho, ui, vj = np.empty(tile.shape[0], np.float32), u[tile.i], v[tile.j]

        def part(first: int, last: int) -> tuple[float, np.ndarray]:
            kappa = np.zeros(0 if of_columns is None else tile.shape[1])
            if not uniform:
                kernels.kernel_rows(*cost, *kernel, diagonal, first, last, W)
            loss = kernels.weight_rows(*cost, ui, vj, diagonal, uniform, first, last, W, rho, kappa)
            return loss, kappa

        losses, kappas = zip(*self._over(tile.shape[0], part), strict=True)
        w, x, y = torch.from_numpy(W), self.rows.x[tile.i], self.rows.y[tile.j]
        if of_rows is not None:
            of_rows[tile.i] += torch.addmm(torch.from_numpy(rho).unsqueeze(1) * x, w, y, alpha=-1.0)
        if of_columns is not None:
            kappa = torch.from_numpy(np.sum(kappas, axis=0).astype(np.float32))
            of_columns[tile.j] += torch.addmm(kappa.unsqueeze(1) * y, w.T, x, alpha=-1.0)
        return (2.0 if tile.twice else 1.0) * float(sum(losses))
