"""Dropout that leaves out the same units of a sample however many ranks a batch is spread over."""

from __future__ import annotations

from torch import Tensor, nn

from batchot.ranks import rank_count, sizes_of_all, this_rank


class SyncDropout(nn.Dropout):
    """Dropout whose mask is drawn for the batch of all ranks, of which each takes its rows.

    The random numbers must stand at the same place on all ranks. In eval mode and outside of a process group it is
    PyTorch's dropout.

    Args:
        p: share of the values that is set to 0.

    Example:
        >>> import torch
        >>> SyncDropout(0.5).eval()(torch.ones(2))
        tensor([1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Leave values of ``(n, ...)`` out and scale the others by 1 / (1 - p)."""
        if not self.training or self.p == 0 or rank_count() == 1:
            return super().forward(input)
        sizes = sizes_of_all(len(input))
        everything = input.new_ones(sum(sizes), *input.shape[1:])
        mask = nn.functional.dropout(everything, self.p).split(sizes)[this_rank()]
        return input * mask


def synchronise_dropout(network: nn.Module) -> None:
    """Let all ``nn.Dropout`` of a network draw for the batch of all ranks.

    Args:
        network: changed in place.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.3))
        >>> synchronise_dropout(network)
        >>> network[1]
        SyncDropout(p=0.3, inplace=False)
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, SyncDropout(child.p, child.inplace).train(child.training))
