"""Options of the solver on blocks of rows, and what all blocks need of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from batchot.losses.blocks.rows import Rows
from batchot.losses.settings import BatchOTSettings


@dataclass(frozen=True)
class Options:
    """Options of the loss as arguments of the loops."""

    cost: tuple[np.float32, np.float32]  # margin, pos_margin
    kernel: tuple[np.float32, np.float32]  # gamma, lam
    uniform: bool

    @classmethod
    def of(cls, s: BatchOTSettings) -> Self:
        """Convert them."""
        return cls(
            (np.float32(s.margin), np.float32(s.pos_margin)),
            (np.float32(s.gamma), np.float32(s.lam)),
            s.plan == "uniform",
        )


def integer_labels(*labels: Tensor) -> list[np.ndarray]:
    """Label vectors as int32 with the same meaning (narrow, so that comparisons vectorise with float32)."""
    given = [each.detach().cpu().numpy() for each in labels]
    with np.errstate(invalid="ignore"):  # a value that does not fit fails the comparison below
        narrow = [each.astype(np.int32) for each in given]
    if all((small == each).all() for small, each in zip(narrow, given, strict=True)):
        return narrow
    _, codes = np.unique(np.concatenate(given), return_inverse=True)
    return np.split(codes.astype(np.int32), np.cumsum([len(each) for each in given])[:-1])


def squares(x: Tensor) -> np.ndarray:
    """Squared lengths of rows, float32 (n,)."""
    square: np.ndarray = (x * x).sum(1, dtype=torch.float32).numpy()
    return square


def labels_of(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Labels of rows and columns."""
    if rows.whole:
        (same,) = integer_labels(rows.x_labels)
        return same, same
    x, y = integer_labels(rows.x_labels, rows.y_labels)
    return x, y
