"""The memory of one iteration on the device. Imports no Triton."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_DIFFERENCES = 9  # the last residual, and 4 differences of residuals and of images: see device.MEMORY
_FLAGS = 8


class Workspace(NamedTuple):
    """What the steps of Sinkhorn's iteration read and write; the result is u, v and the error."""

    v: Tensor  # (m,), scaling of the columns
    u: Tensor  # (n,), scaling of the rows in the pass that runs
    best_u: Tensor  # (n,), that which belongs to the final v; v itself for a batch against itself
    sums: Tensor  # (m,), K^T u
    vectors: Tensor  # (4, m), float64: log v, the best, its image, the last image
    differences: Tensor  # (9, m)
    state: Tensor  # (8,), int32: tickets, whether all is done, steps in memory and in all
    error: Tensor  # (), marginal error of the best v

    @classmethod
    def new(cls, n: int, m: int, itself: bool, device: torch.device) -> Workspace:
        """Room for a problem whose scalings begin at 1: four allocations."""
        zeros = torch.zeros(4 * m + _FLAGS, dtype=torch.float64, device=device)
        ones = torch.ones(m, dtype=torch.float32, device=device)
        rest = torch.empty(
            (_DIFFERENCES + 1) * m + (0 if itself else 2 * n), dtype=torch.float32, device=device
        )
        sums, differences, scalings = rest.split([m, _DIFFERENCES * m, 0 if itself else 2 * n])
        error = torch.empty((), dtype=torch.float32, device=device)
        u, best_u = (ones, ones) if itself else scalings.view(2, n).unbind()
        state = zeros[4 * m :].view(torch.int32)
        return cls(ones, u, best_u, sums, zeros[: 4 * m].view(4, m), differences, state, error)
