"""Time and memory of the loss against its peers, as ratios within one run.

    python benchmarks/loss.py                 # n = 64, 256, 1024, 4096
    python benchmarks/loss.py --large         # adds the peak memory at n = 16384, in a process of its own
    python benchmarks/loss.py --step          # adds the loss's share of a LeNet training step

Each row is the median of alternating repetitions: forward and backward, d = 128, ten classes, lam = 5.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import ot
import torch
from pytorch_metric_learning.losses import ContrastiveLoss

from batchot import BatchOTLoss, ground_distance, sinkhorn

LAM, GAMMA, MARGIN = 5.0, 3.0, 1.0  # the defaults
Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def through_pot(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss as the authors compute it: plan by ot.sinkhorn on the detached cost, autograd for the rest."""
    M, D = ground_distance(torch.nn.functional.normalize(x), labels, gamma=GAMMA, margin=MARGIN)
    T = ot.sinkhorn([], [], D.detach().double().numpy(), 1.0 / LAM)
    return 0.5 * (torch.from_numpy(T).float() * M).sum()


def batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 128, generator=generator, requires_grad=True), torch.arange(n) % 10


def medians(steps: dict[str, Step], n: int, repetitions: int) -> dict[str, float]:
    """Seconds of forward + backward of each, alternating, so that a noisy neighbour hits all alike."""
    x, labels = batch(n)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(repetitions + 2):
        for name, step in steps.items():
            x.grad = None
            start = time.perf_counter()
            step(x, labels).backward()
            if repetition >= 2:  # the first two compile and warm caches
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def compare(sizes: list[int]) -> None:
    steps: dict[str, Step] = {
        "batch-ot": BatchOTLoss(lam=LAM, gamma=GAMMA, margin=MARGIN),
        "uniform": BatchOTLoss(plan="uniform"),
        "contrastive": ContrastiveLoss(),
        "pot": through_pot,
    }
    print("forward + backward, ms (median)                             ratio of batch-ot to")
    print(f"{'n':>6} {'batch-ot':>10} {'uniform':>10} {'contrastive':>12} {'POT':>10}    contrastive    POT")
    for n in sizes:
        ms = {k: 1e3 * v for k, v in medians(steps, n, 200 if n < 512 else 30 if n < 2048 else 7).items()}
        print(
            f"{n:>6} {ms['batch-ot']:>10.3f} {ms['uniform']:>10.3f} {ms['contrastive']:>12.3f} {ms['pot']:>10.3f}"
            f"    {ms['batch-ot'] / ms['contrastive']:>11.2f} {ms['batch-ot'] / ms['pot']:>6.2f}",
            flush=True,
        )
    print("\nplan against ot.sinkhorn (stopThr 1e-13), two batches: largest and summed absolute difference")
    for n in [s for s in sizes if s <= 1024]:
        x, labels = batch(n)
        y, _ = batch(n + 1)
        D = ground_distance(
            torch.nn.functional.normalize(x.detach()),
            labels,
            torch.nn.functional.normalize(y.detach()[:n]),
            labels,
        ).D
        T = ot.sinkhorn([], [], D.double().numpy(), 1.0 / LAM, numItermax=100_000, stopThr=1e-13)
        difference = np.abs(sinkhorn(D, LAM).coupling.double().numpy() - T)
        print(f"{n:>6} {difference.max():.1e} {difference.sum():.1e}", flush=True)


def peak_memory(n: int) -> None:
    x, labels = batch(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    BatchOTLoss(lam=LAM)(x, labels).backward()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"n = {n}: {seconds:.1f} s, peak resident memory {peak / 2**20:.2f} GiB ({before / 2**20:.2f} before)"
    )


def share_of_a_step(name: str, network: torch.nn.Module, x: torch.Tensor, bf16: bool, steps: int) -> None:
    optimiser = torch.optim.AdamW(network.parameters())
    labels = torch.arange(len(x)) % 10
    loss = BatchOTLoss(lam=LAM)
    whole, part = [], []
    for _ in range(steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            embeddings = network(x)
        leaf = embeddings.detach().float().requires_grad_()
        middle = time.perf_counter()
        value = loss(leaf, labels)
        value.backward()
        end = time.perf_counter()
        embeddings.backward(leaf.grad.to(embeddings.dtype))
        optimiser.step()
        optimiser.zero_grad()
        whole.append(time.perf_counter() - start)
        part.append(end - middle)
    warm = steps // 6
    step, of_loss = statistics.median(whole[warm:]), statistics.median(part[warm:])
    print(
        f"{name}, batch {len(x)}: {1e3 * step:.2f} ms, of which the loss {1e3 * of_loss:.3f} ms = "
        f"{100 * of_loss / step:.2f} %"
    )


def shares_of_steps() -> None:
    from batchot.models import MVCNN, Embedder, LeNet5, MetricNet, make_backbone

    for size in (64, 128, 256):
        lenet = LeNet5(in_channels=1, image_size=28)
        network = Embedder(lenet, MetricNet(lenet.out_features, (512, 256)))
        share_of_a_step("LeNet-5 step", network, torch.randn(size, 1, 28, 28), bf16=False, steps=60)
    for backbone, views in (("resnet18-w32-s4", 6), ("resnet18-w16-s2", 12)):
        mvcnn = MVCNN(make_backbone(backbone, in_channels=1, image_size=64))
        network = Embedder(mvcnn, MetricNet(mvcnn.out_features, (512, 256), batch_norm=True))
        x = torch.randn(64, views, 1, 64, 64)
        share_of_a_step(f"MVCNN step, {backbone}, {views} views of 64 x 64", network, x, bf16=True, steps=18)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--large", action="store_true", help="peak memory at n = 16384")
    parser.add_argument("--step", action="store_true", help="share of training steps of LeNet-5 and MVCNN")
    parser.add_argument("--peak", type=int, help="only the peak memory at this n, in this process")
    options = parser.parse_args()
    if options.peak:
        peak_memory(options.peak)
        return
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    compare(options.sizes)
    if options.step:
        print()
        shares_of_steps()
    if options.large:
        print(flush=True)
        subprocess.run([sys.executable, __file__, "--peak", "16384"], check=True)


if __name__ == "__main__":
    main()
