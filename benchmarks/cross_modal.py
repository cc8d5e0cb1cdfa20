"""Time of the cross-modal loss in ratio to one plan, within one run.

    python benchmarks/cross_modal.py          # embeddings of 128 and 100 dimensions

Forward and backward of the loss on batches of eight classes; medians of alternating repetitions. One plan is
BatchOTLoss of 30 samples against 30.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from pytorch_metric_learning.losses import ContrastiveLoss

from batchot import BatchOTLoss, CrossModalBatchOTLoss
from batchot.losses import CrossModal

CLASSES = 8
Loss = Callable[[], torch.Tensor]


def batch(n: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings about the centre of their class, as after a few epochs."""
    centres = torch.randn(CLASSES, d, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % CLASSES
    noise = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return (centres[labels] + noise).requires_grad_(), labels


def losses(d: int, settings: dict[str, float]) -> tuple[dict[str, Loss], dict[str, Loss]]:
    """One plan and the stacks; and one plan and what is not stacked, apart since it leaves cold caches behind."""
    (x, lx), (y, ly) = batch(30, d, 1), batch(30, d, 2)
    (many_x, many_lx), (many_y, many_ly) = batch(60, d, 3), batch(60, d, 4)
    one = BatchOTLoss(**settings)
    three = CrossModalBatchOTLoss(**settings)
    four = CrossModalBatchOTLoss(four_terms=True, **settings)
    apart = CrossModal(one, four_terms=True)
    pairs = CrossModal(ContrastiveLoss(), four_terms=True)
    single = {"one plan, 30 x 30": lambda: one(x, lx, ref_emb=y, ref_labels=ly)}
    stacked = {
        "three plans, 30 x 30": lambda: three(x, lx, y, ly),
        "four plans of halves, 15 x 15": lambda: four(x, lx, y, ly),
        "four plans, 30 x 30": lambda: four(many_x, many_lx, many_y, many_ly),
    }
    others = {
        "four plans, 30 x 30, one by one": lambda: apart(many_x, many_lx, many_y, many_ly),
        "contrastive, four terms, 30 x 30": lambda: pairs(many_x, many_lx, many_y, many_ly),
    }
    return single | stacked, single | others


def medians(steps: dict[str, Loss], repetitions: int) -> dict[str, float]:
    """Seconds of forward + backward of each, alternating, so that a noisy neighbour hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(repetitions + 5):
        for name, step in steps.items():
            start = time.perf_counter()
            step().backward()
            if repetition >= 5:  # the first compile and warm caches
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dimensions", type=int, nargs="+", default=[128, 100])
    parser.add_argument("--repetitions", type=int, default=500)
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for d in options.dimensions:
        for settings in ({"lam": 5.0, "gamma": 3.0}, {"lam": 10.0, "gamma": 10.0}):
            print(f"\nd = {d}, lam = {settings['lam']:g}, gamma = {settings['gamma']:g}")
            for group in losses(d, settings):
                found = medians(group, options.repetitions)
                one = next(iter(found.values()))
                for name, seconds in found.items():
                    print(f"{name:>34} {1e3 * seconds:>8.3f} ms   ratio {seconds / one:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
