"""Time of the retrieval measures against one sort of the distance matrix.

    python benchmarks/measures.py             10,000 x 10,000, 10 and 100 classes: the ratio of medians
    python benchmarks/measures.py --large     60,000 x 60,000: time and peak memory of a process of its own

Both sides run alternately in the same process, so that a busy machine slows down both. The measures include
everything from embeddings to averages; the sort is given its matrix.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch

from batchot.evaluation import retrieval_scores


def classes_in_space(n: int, dimension: int, n_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return overlapping Gaussian classes, L2-normalised as a trained embedding is."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, n_classes, (n,), generator=generator)
    centres = torch.randn(n_classes, dimension, generator=generator)
    x = torch.randn(n, dimension, generator=generator) + 0.7 * centres[labels]
    return torch.nn.functional.normalize(x), labels


def seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compare(arguments: argparse.Namespace, n_classes: int) -> None:
    device = torch.device(arguments.device)
    x, labels = classes_in_space(arguments.n, arguments.dimension, n_classes, arguments.seed)
    x, labels = x.to(device), labels.to(device)
    matrix = torch.cdist(x, x)
    warm_up = min(2000, arguments.n)  # the first call compiles the kernel, whatever the size
    retrieval_scores(x[:warm_up], labels[:warm_up], engine="auto" if device.type == "cuda" else "numba")
    matrix[:10].sort()
    measures, sorts = [], []
    for _ in range(arguments.repetitions):
        measures.append(seconds(lambda: retrieval_scores(x, labels, engine=arguments.engine), device))
        sorts.append(seconds(lambda: matrix.sort(dim=1), device))
    ours, sort = statistics.median(measures), statistics.median(sorts)
    print(
        f"{arguments.n} x {arguments.n}, d {arguments.dimension}, {n_classes} classes: "
        f"measures {ours:.2f} s ({min(measures):.2f} to {max(measures):.2f}), "
        f"sort {sort:.2f} s ({min(sorts):.2f} to {max(sorts):.2f}), "
        f"ratio {ours / sort:.2f}"
    )


def large(arguments: argparse.Namespace) -> None:
    n, n_classes = arguments.n, arguments.classes[0]
    x, labels = classes_in_space(n, arguments.dimension, n_classes, arguments.seed)
    taken = seconds(lambda: retrieval_scores(x, labels, engine=arguments.engine), torch.device("cpu"))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    print(
        f"{n} x {n}, d {arguments.dimension}, {n_classes} classes: {taken:.0f} s, "
        f"peak memory of the process {peak:.2f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, help="queries = gallery (10,000; 60,000 if --large)")
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--engine", choices=["auto", "torch", "numba"], default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true", help="once: time and peak memory")
    arguments = parser.parse_args()
    arguments.n = arguments.n or (60_000 if arguments.large else 10_000)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    if arguments.large:
        large(arguments)
    else:
        for n_classes in arguments.classes:
            compare(arguments, n_classes)


if __name__ == "__main__":
    main()
