"""The loss on the pairs of miners against a loss of pytorch-metric-learning on the same, as ratios within one run.

    python benchmarks/loss_pairs.py                       # every miner, alone and with a memory of 600
    python benchmarks/loss_pairs.py --repetitions 30

Handwritten digits of scikit-learn, n = 120, a random projection to 32 dimensions. Each row is the median of alternating
repetitions of miner, loss and gradient; with a memory, that of CrossBatchMemory when it is full.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch
from pytorch_metric_learning import miners
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory
from sklearn.datasets import load_digits

from batchot.pml import BatchOTLoss

SIZE, WIDTH, MEMORY = 120, 32, 600
MINERS = {
    "none": None,
    "angular": miners.AngularMiner(),
    "batch easy hard": miners.BatchEasyHardMiner(),
    "batch hard": miners.BatchHardMiner(),
    "distance weighted": miners.DistanceWeightedMiner(),
    "hardness-aware (HDC)": miners.HDCMiner(),
    "multi-similarity": miners.MultiSimilarityMiner(),
    "pair margin": miners.PairMarginMiner(),
    "triplet margin": miners.TripletMarginMiner(),
    "uniform histogram": miners.UniformHistogramMiner(),
}


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Embeddings and labels, `count` times."""
    digits = load_digits()
    generator = torch.Generator().manual_seed(0)
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    x = (x - x.mean(0)) @ torch.randn(64, WIDTH, generator=generator)
    labels = torch.tensor(digits.target)
    chosen = [torch.randperm(len(x), generator=generator)[:SIZE] for _ in range(count)]
    return [(x[i].requires_grad_(), labels[i]) for i in chosen]


def step(
    loss: torch.nn.Module, miner: torch.nn.Module | None, x: torch.Tensor, labels: torch.Tensor
) -> float:
    """Seconds of one forward and backward."""
    start = time.perf_counter()
    value = loss(x, labels) if miner is None else loss(x, labels, miner(x, labels))
    value.backward()
    return time.perf_counter() - start


def compare(miner: torch.nn.Module | None, memory: bool, repetitions: int) -> tuple[float, float]:
    """Median seconds of BatchOTLoss and of ContrastiveLoss."""
    losses = [BatchOTLoss(), ContrastiveLoss()]
    if memory:
        losses = [CrossBatchMemory(loss, WIDTH, MEMORY, miner=miner) for loss in losses]
    seconds: list[list[float]] = [[], []]
    warm = MEMORY // SIZE
    for number, (x, labels) in enumerate(batches(warm + repetitions)):
        for loss, taken in zip(losses, seconds, strict=True):
            torch.manual_seed(number)  # some miners draw
            taken.append(step(loss, None if memory else miner, x, labels))
    ours, theirs = (statistics.median(taken[warm:]) for taken in seconds)
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=10)
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print(f"{'miner':>22} {'memory':>7} {'batch-ot, ms':>13} {'contrastive, ms':>16} {'ratio':>6}")
    for memory in (False, True):
        for name, miner in MINERS.items():
            ours, theirs = compare(miner, memory, options.repetitions)
            size = MEMORY if memory else 0
            print(
                f"{name:>22} {size:>7} {1e3 * ours:>13.2f} {1e3 * theirs:>16.2f} {ours / theirs:>6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
