"""Rows of the kernel K of one transport problem: stored, in tiles, on any device, or shared among processes.

The solver asks three things of rows (:class:`~batchot.losses.blocks.rows.RowBlock`): K v; half a step of Sinkhorn's
iteration; the loss and its gradient once the scalings u and v are known. Only the rows know
whether K is stored, and where. ``blocks.solve`` needs numba; what is named here does not.
"""

from batchot.losses.blocks.rows import Exchange, RowBlock, Rows, Unsolved, Weighed

__all__ = ["Exchange", "RowBlock", "Rows", "Unsolved", "Weighed"]
