"""Problems on a CPU in float32, by compiled loops: K in memory or made tile by tile, and many terms as one stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchot.losses.backends import cpu_kernels as kernels
from batchot.losses.backends.iterate import newton_plan
from batchot.losses.backends.rows import Weighed
from batchot.losses.problem import Rows, prepare, through_norm
from batchot.losses.settings import BatchOTSettings

THREADED_PAIRS = 1 << 21  # below, handing work to threads in every step costs more than they save
NEWTON_SIZE = 256  # a Newton step solves a system of this size at most
_FLOAT32_STEPS = 100  # what has not converged by then hardly ever does
_ROWS, _COLUMNS = 256, 2048  # of a tile: with its K it stays in the caches
_STRIP = 1 << 24  # pairs whose K is kept for half a step of the iteration, which reads it twice

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


def integer_labels(*labels: Tensor) -> list[np.ndarray]:
    """Label vectors as int32 with the same meaning (narrow, so that comparisons vectorise with float32)."""
    given = [each.detach().cpu().numpy() for each in labels]
    with np.errstate(invalid="ignore"):  # a value that does not fit fails the comparison below
        narrow = [each.astype(np.int32) for each in given]
    if all((small == each).all() for small, each in zip(narrow, given, strict=True)):
        return narrow
    _, codes = np.unique(np.concatenate(given), return_inverse=True)
    return np.split(codes.astype(np.int32), np.cumsum([len(each) for each in given])[:-1])


class _Options:
    """Options of the loss as arguments of the loops."""

    def __init__(self, s: BatchOTSettings) -> None:
        self.margins = np.float32(s.margin), np.float32(s.pos_margin)
        self.exponents = np.float32(s.gamma), np.float32(s.lam)
        self.uniform = s.plan == "uniform"


def _squares(x: Tensor) -> np.ndarray:
    """Squared lengths of rows, float32 (n,)."""
    square: np.ndarray = (x * x).sum(1, dtype=torch.float32).numpy()
    return square


def _pull(w: Tensor, sums: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """sum_j w_ij (x_i - y_j), where sum_j w_ij are the sums."""
    return torch.addmm(sums.unsqueeze(1) * x, w, y, alpha=-1.0)


class _Block:
    """What the loops take of rows."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.n, self.m = len(rows.x), len(rows.y)
        self.x2 = _squares(rows.x)
        self.y2 = self.x2 if rows.whole else _squares(rows.y)
        if rows.whole:
            (self.lx,) = (self.ly,) = integer_labels(rows.x_labels)
        else:
            self.lx, self.ly = integer_labels(rows.x_labels, rows.y_labels)
        self.options = _Options(rows.settings)


class StoredRows(_Block):
    """G = X Y^T and K, float32 (n, m) each, from matrix products and compiled loops: the fastest where they fit."""

    def __init__(self, rows: Rows, stack: ExitStack) -> None:
        super().__init__(rows)
        self.over_rows = row_runner(self.n, self.m, stack)
        G = torch.mm(rows.x, rows.y.T).numpy()
        self.cost = (G, self.x2, self.y2, self.lx, self.ly, *self.options.margins)
        self.diagonal = kernels.NO_DIAGONAL if rows.first is None else rows.first
        self.K = np.empty((self.n, self.m), np.float32)
        if not self.options.uniform:
            known = (*self.cost, *self.options.exponents, self.diagonal)
            self.over_rows(lambda i, j: kernels.kernel_rows(*known, i, j, self.K))

    def row_sums(self, v: np.ndarray) -> np.ndarray:
        r = np.empty(self.n)
        self.over_rows(lambda i, j: kernels.matvec_rows(self.K, v, i, j, r))
        return r

    def half_step(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u = np.empty(self.n, np.float32)
        return u, np.sum(_half_step(self.K, v, self.rows.row_mass, u, self.over_rows), axis=0)

    def column_sums(self, u: np.ndarray) -> np.ndarray:
        sums: np.ndarray = torch.mv(torch.from_numpy(self.K).T, torch.from_numpy(u)).double().numpy()
        return sums

    def weigh(self, u: np.ndarray, v: np.ndarray, need_x: bool, need_y: bool) -> Weighed:
        rows, uniform = self.rows, self.options.uniform
        rho = np.empty(self.n, np.float32)
        columns = 0 if rows.itself or not need_y else self.m
        parts: list[np.ndarray] = []

        def part(i: int, j: int) -> float:
            kappa = np.zeros(columns)
            parts.append(kappa)
            loss: float = kernels.weight_rows(
                *self.cost, u, v, self.diagonal, uniform, i, j, self.K, rho, kappa
            )
            return loss

        loss = sum(self.over_rows(part))
        w, grad_x, grad_y = torch.from_numpy(self.K), None, None
        if need_x:
            grad_x = _pull(w, torch.from_numpy(rho), rows.x, rows.y)
            grad_x.mul_(4.0 if rows.itself else 2.0)  # w is symmetric: columns give what rows give
        if columns:
            kappa = torch.from_numpy(np.sum(parts, axis=0).astype(np.float32))
            grad_y = _pull(w.T, kappa, rows.y, rows.x).mul_(2.0)
        return Weighed(loss, grad_x, grad_y)


def _half_step(
    K: np.ndarray, v: np.ndarray, a: float, u: np.ndarray, over_rows: RowRunner
) -> list[np.ndarray]:
    """Write u = a / (K v) of a K in memory, and return what each thread adds to K^T u."""
    r = np.empty(len(K))

    def part(i: int, j: int) -> np.ndarray:
        c, room = np.zeros(K.shape[1]), np.empty(K.shape[1], np.float32)
        kernels.half_step_rows(K, v, a, i, j, u, r, c, room)
        return c

    return over_rows(part)


@dataclass(frozen=True)
class _Tile:
    i: slice
    j: slice
    twice: bool  # it stands for its mirror image below the diagonal too

    @property
    def shape(self) -> tuple[int, int]:
        return self.i.stop - self.i.start, self.j.stop - self.j.start


class TiledRows(_Block):
    """The block of :class:`StoredRows` without its matrices."""

    def __init__(self, rows: Rows, stack: ExitStack) -> None:
        super().__init__(rows)
        self._run = row_runner(_ROWS, self.m, stack)
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

    def _problem(self, tile: _Tile) -> tuple[tuple[Any, ...], int]:
        """G and what goes with it as the loops take it, and the diagonal. The next tile overwrites G."""
        i, j, first = tile.i, tile.j, self.rows.first
        G = self._G[: tile.shape[0] * tile.shape[1]].view(tile.shape)
        torch.mm(self.rows.x[i], self.rows.y[j].T, out=G)
        cost = (G.numpy(), self.x2[i], self.y2[j], self.lx[i], self.ly[j], *self.options.margins)
        return cost, kernels.NO_DIAGONAL if first is None else first + i.start - j.start

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
        cost, diagonal = self._problem(tile)
        known = (*cost, *self.options.exponents, diagonal, u[tile.i], v[tile.j])

        def part(first: int, last: int) -> np.ndarray:
            c = np.zeros(0 if of_columns is None else tile.shape[1])
            kernels.kernel_sums(*known, first, last, of_rows, c)
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
            parts = _half_step(K, v, self.rows.row_mass, u[i], partial(self._over, len(K)))
            for sums in parts:
                c += sums
        return u, c

    def _keep(self, tile: _Tile, strip: np.ndarray) -> None:
        cost, diagonal = self._problem(tile)
        known, K = (*cost, *self.options.exponents, diagonal), strip[:, tile.j]
        self._over(len(K), lambda i, j: kernels.kernel_rows(*known, i, j, K))

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
        cost, diagonal = self._problem(tile)
        uniform = self.options.uniform
        W = self._W[: tile.shape[0] * tile.shape[1]].reshape(tile.shape)
        rho, ui, vj = np.empty(tile.shape[0], np.float32), u[tile.i], v[tile.j]

        def part(first: int, last: int) -> tuple[float, np.ndarray]:
            kappa = np.zeros(0 if of_columns is None else tile.shape[1])
            if not uniform:
                kernels.kernel_rows(*cost, *self.options.exponents, diagonal, first, last, W)
            loss = kernels.weight_rows(*cost, ui, vj, diagonal, uniform, first, last, W, rho, kappa)
            return loss, kappa

        losses, kappas = zip(*self._over(tile.shape[0], part), strict=True)
        w, x, y = torch.from_numpy(W), self.rows.x[tile.i], self.rows.y[tile.j]
        if of_rows is not None:
            of_rows[tile.i] += _pull(w, torch.from_numpy(rho), x, y)
        if of_columns is not None:
            kappa = torch.from_numpy(np.sum(kappas, axis=0).astype(np.float32))
            of_columns[tile.j] += _pull(w.T, kappa, y, x)
        return (2.0 if tile.twice else 1.0) * float(sum(losses))


def scale_at_once(
    K: np.ndarray, itself: bool, tolerance: float, max_iterations: int, u: np.ndarray, v: np.ndarray
) -> float:
    """u (n,) and v (m,) that give diag(u) K diag(v) its marginals, and the error left; or T in place of K."""
    n, m = K.shape
    a, b = 1.0 / n, 1.0 / m
    small = min(n, m) <= NEWTON_SIZE
    steps = min(max_iterations, _FLOAT32_STEPS) if small else max_iterations
    if itself:  # both marginals of a symmetric plan are wrong where one is
        x, r = np.empty((2, n))
        u[:] = 1.0
        error: float = 2.0 * kernels.symmetric_sinkhorn(
            K, x, r, a, 0.5 * tolerance, -1, steps, u, *kernels.room(n)
        )
        v[:] = u
    else:
        r, part = np.empty(n), np.empty(m, np.float32)
        error = kernels.sinkhorn(K, a, b, tolerance, steps, u, v, r, part, *kernels.room(m))
    if error <= tolerance or not small:
        return error
    # Half the tolerance is kept for the rounding of T to float32.
    across = m > n
    given, masses = (K.T, (b, a)) if across else (K, (a, b))
    T, error = newton_plan(given.astype(np.float64), *masses, 0.5 * tolerance, max_iterations - steps)
    if error <= tolerance:
        K[:] = T.T if across else T
        u[:] = 1.0
        v[:] = 1.0
    return error


Pull = Callable[[Tensor], Tensor]


def solve_stack(
    Z: Tensor, labels: Sequence[Tensor], blocks: np.ndarray, settings: Sequence[BatchOTSettings]
) -> tuple[Tensor, Pull] | None:
    """The losses (k,) of blocks (k, 4) of Z Z^T, and of their gradient that on Z; None if beyond float32."""
    lz = np.concatenate(integer_labels(*labels))
    rows, norm, _ = prepare(Z, settings[0].normalize, None)
    W = np.zeros((len(Z), len(Z)), np.float32)  # w_ij = T_ij / 2 * dM_ij/d(d2_ij) of each block
    G = torch.mm(rows, rows.T).numpy()
    squares = G.diagonal().copy()
    rho, unread = np.empty(len(Z), np.float32), np.empty(0)  # the Laplacian sums rows and columns
    losses = []
    for (r0, r1, c0, c1), s in zip(blocks.tolist(), settings, strict=True):
        itself = r0 == c0 and r1 == c1
        n, m = r1 - r0, c1 - c0
        o, diagonal = _Options(s), 0 if itself else kernels.NO_DIAGONAL
        g = np.ascontiguousarray(G[r0:r1, c0:c1])  # so that the loops over its rows vectorise
        cost = (g, squares[r0:r1], squares[c0:c1], lz[r0:r1], lz[c0:c1], *o.margins)
        K, u, v = np.empty((n, m), np.float32), np.empty(n, np.float32), np.empty(m, np.float32)
        if o.uniform:
            u[:] = 1.0 / n / ((n - 1) if itself else m)
            v[:] = 1.0
        else:
            kernels.kernel_rows(*cost, *o.exponents, diagonal, 0, n, K)
            if not scale_at_once(K, itself, s.tolerance, s.max_iterations, u, v) <= s.tolerance:
                return None
        losses.append(kernels.weight_rows(*cost, u, v, diagonal, o.uniform, 0, n, K, rho[:n], unread))
        W[r0:r1, c0:c1] = K
    if not np.isfinite(losses).all():
        return None

    def pull(grad: Tensor) -> Tensor:
        L = kernels.laplacian(W, blocks, grad.detach().contiguous().numpy())
        return through_norm(torch.mm(torch.from_numpy(L), rows).mul_(2.0), rows, norm)

    return torch.from_numpy(np.array(losses)).float(), pull
