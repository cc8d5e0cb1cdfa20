"""Statistics of batch normalisation as they are for the weights that are evaluated."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.data import EvaluationBatches, Preparation, Samples
from batchot.data.samples import Share
from batchot.models.layers import local_statistics
from batchot.ranks import rank_count, this_rank
from batchot.training.recipe import BatchSettings


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[tuple[nn.Module, Tensor]]) -> None:
    """Replace the running means and variances by those of some batches under the present weights."""
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm)
        and module.track_running_stats
        and (module.weight is None or module.weight.requires_grad)  # frozen ones keep their statistics
    ]
    if not norms:
        return
    before = [(norm.training, norm.momentum) for norm in norms]
    try:
        for norm in norms:
            norm.train()
            norm.momentum = None  # PyTorch's word for a plain mean over the batches
            norm.reset_running_stats()
        with local_statistics(network):
            for tower, batch in batches:
                tower(batch)
        if rank_count() > 1:
            _average(norms)
    finally:
        for norm, (training, momentum) in zip(norms, before, strict=True):
            norm.train(training)
            norm.momentum = momentum


def _average(norms: list[_BatchNorm]) -> None:
    """Take the mean over the batches of all ranks."""
    done: set[int] = set()  # towers may share their statistics
    for norm in norms:
        mean, variance, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
        assert mean is not None
        assert variance is not None
        assert batches is not None
        if id(mean) in done:
            continue
        done.add(id(mean))
        both = torch.cat(
            [torch.stack([mean, variance]).double().flatten() * batches, batches.double().view(1)]
        )
        dist.all_reduce(both)
        means = (both[:-1] / both[-1]).view(2, -1).to(mean.dtype)
        mean.copy_(means[0])
        variance.copy_(means[1])


def calibration_batches(
    samples: Samples,
    preparation: Preparation,
    batch: BatchSettings,
    count: int,
    generator: torch.Generator,
) -> EvaluationBatches:
    """Draw the batches of training samples for `recalibrate`, the same ones for all epochs."""
    chosen = torch.randperm(len(samples), generator=generator)[: count * batch.size]
    share = Share(this_rank(), rank_count())
    return EvaluationBatches(samples.subset(chosen), preparation, batch.at_once, share)
