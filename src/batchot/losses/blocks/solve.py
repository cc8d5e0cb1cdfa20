"""From rows to the loss and its gradient."""

from __future__ import annotations

import warnings
from contextlib import ExitStack

import numpy as np
import torch

from batchot.losses.blocks.device import DeviceRows
from batchot.losses.blocks.rows import Exchange, RowBlock, Rows, Unsolved, Weighed
from batchot.losses.blocks.scaling import Alone, Scalings, precision, scale
from batchot.losses.blocks.stored import StoredRows
from batchot.losses.blocks.tiled import TiledRows
from batchot.transport import SinkhornWarning, sinkhorn

STORED_PAIRS = 1 << 27  # more than that, and G and K would take over 1 GiB
_COMPILED_PAIRS = 1 << 18  # below, one compiled call iterates, with a Newton's method of its own
_GENERAL_PAIRS = 1 << 24  # beyond, the general solver would run for minutes


def block_of(rows: Rows, stack: ExitStack) -> RowBlock:
    """The fastest block for rows of this size, type and device; the stack closes its threads."""
    if rows.x.device.type != "cpu" or rows.x.dtype == torch.float64:
        return DeviceRows(rows)
    stored = len(rows.x) * len(rows.y) <= STORED_PAIRS
    return StoredRows(rows, stack) if stored else TiledRows(rows, stack)


def solve(rows: Rows, exchange: Exchange | None = None, need_x: bool = True, need_y: bool = True) -> Weighed:
    """Loss and gradient of a problem, from these rows and what the other holders exchange.

    Args:
        rows: of this process
        exchange: with the holders of the other rows; None: there are none
        need_x, need_y: which gradients are wanted

    Returns:
        The loss of the whole problem; the gradient on these rows, and on all of y.

    Raises:
        Unsolved: see there
    """
    exchange = exchange or Alone()
    with ExitStack() as stack:
        block = block_of(rows, stack)
        if rows.settings.plan == "uniform":
            # no pair of a sample and itself
            mass = rows.row_mass / (rows.total - 1) if rows.itself else rows.row_mass * rows.column_mass
            kind = precision(rows)
            found = Scalings(np.full(len(rows.x), mass, kind), np.ones(len(rows.y), kind), 0.0)
        else:
            found = _scale(block, exchange)
        part = block.weigh(found.u, found.v, need_x, need_y)
    loss = float(exchange.sum(np.array(part.loss)))
    grad_y = None if part.grad_y is None else exchange.sum_rows(part.grad_y)
    return Weighed(loss, part.grad_x, grad_y)


def _scale(block: RowBlock, exchange: Exchange) -> Scalings:
    rows, s = block.rows, block.rows.settings
    alone = isinstance(exchange, Alone)
    if alone and isinstance(block, StoredRows) and block.K.size < _COMPILED_PAIRS:
        from batchot.losses.newton_small import scale as scale_small

        u, v = (np.empty(size, np.float32) for size in block.K.shape)
        error = scale_small(block.K, rows.itself, s.tolerance, s.max_iterations, u, v)
        found = Scalings(u, v, error)
    else:
        found = scale(block, exchange)
    if found.error <= s.tolerance:
        return found
    if len(rows.y) * rows.total <= _GENERAL_PAIRS:
        if not (alone and isinstance(block, StoredRows)):
            raise Unsolved
        # distances that are not finite make a loss that is not either, which says so
        return _scale_generally(block) if np.isfinite(block.K.sum()) else found
    warnings.warn(
        f"Sinkhorn stopped after {s.max_iterations} iterations at a marginal error of {found.error:.1e}, above "
        f"tolerance={s.tolerance:.1e} (lam={s.lam:g}, {rows.total} x {len(rows.y)} pairs). Raise max_iterations or "
        "tolerance, or lower lam.",
        SinkhornWarning,
        stacklevel=2,
    )
    return found


def _scale_generally(block: StoredRows) -> Scalings:
    """By the general solver, for a problem on which float32 or the acceleration failed. K becomes the plan."""
    rows, (n, m) = block.rows, block.K.shape
    lowest = np.exp(-np.float64(rows.settings.lam))
    D = torch.from_numpy(block.K).double().clamp(min=lowest).log_().neg_()
    mask = torch.eye(n, dtype=torch.bool, device="cpu") if rows.itself else None
    plan = sinkhorn(
        D, 1.0, mask=mask, max_iterations=rows.settings.max_iterations, tolerance=rows.settings.tolerance
    )
    block.K[:] = plan.coupling.float().numpy()
    return Scalings(np.ones(n, np.float32), np.ones(m, np.float32), float(plan.marginal_error))
