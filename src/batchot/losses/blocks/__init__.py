"""Rows of the kernel K of one transport problem: stored, in tiles, on any device, or shared among processes.

The solver asks three things of rows (:class:`~batchot.losses.blocks.rows.RowBlock`): K v; half a step of Sinkhorn's
iteration; the loss and its gradient once the scalings u and v are known. Who holds K, and whether it is held at all,
is nobody else's affair.
"""

from batchot.losses.blocks.rows import RowBlock, Rows, Weighed
from batchot.losses.blocks.scaling import Alone, Exchange
from batchot.losses.blocks.solve import block_of, solve

__all__ = ["Alone", "Exchange", "RowBlock", "Rows", "Weighed", "block_of", "solve"]
