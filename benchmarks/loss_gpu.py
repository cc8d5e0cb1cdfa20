"""Forward and backward from n = 64 to 65,536 on a GPU: ours against its peers, and against what the GPU allows.

    python benchmarks/loss_gpu.py                          # all sizes
    python benchmarks/loss_gpu.py --sizes 64 1024 4096
    python benchmarks/loss_gpu.py --paths                  # adds every way to find the scalings, to choose the default

Times are medians of CUDA events over alternating repetitions, d = 128, ten classes, lam 5: eager, and replayed from a
CUDA graph where the step can be captured. Peers: ContrastiveLoss and SupConLoss of pytorch-metric-learning; our loss
in plain PyTorch (the general path); with the plan of POT's torch backend (stopped at 1e-6 as ours is) and of GeomLoss
(20 iterations). Floors: `bytes` is what must be moved, over the bandwidth that a copy reaches: embeddings read,
gradient written, and K written once and read in every step as long as it is stored; `flops` is what must be computed,
over the speed of torch.mm in float32 and in TF32 / 3: X X^T in every step where K is not stored, and twice more for
the gradient. Every step is run once under torch.cuda.set_sync_debug_mode("error").
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Callable

import torch
from loss_peers import GAMMA, LAM, MARGIN, SIZES, WIDTH, Step, peers, with_plan_of


def steps() -> dict[str, Step]:
    """What is compared."""
    from batchot import BatchOTLoss, sinkhorn
    from batchot.losses.backends.triton import gpu_loss
    from batchot.losses.problem import Problem
    from batchot.losses.settings import BatchOTSettings

    settings = BatchOTSettings(lam=LAM, gamma=GAMMA, margin=MARGIN)

    def general(D: torch.Tensor) -> torch.Tensor:
        return sinkhorn(D, LAM, mask=torch.eye(len(D), dtype=torch.bool, device=D.device)).coupling

    return {
        "kernels": lambda x, labels: gpu_loss(Problem(x, labels, settings=settings)),
        "BatchOTLoss": BatchOTLoss(lam=LAM, gamma=GAMMA, margin=MARGIN),
        "plain torch": with_plan_of(general),
        **peers(),
    }


def milliseconds(work: Callable[[], object], repetitions: int) -> float:
    times = []
    for repetition in range(repetitions + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        if repetition >= 3:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def machine() -> tuple[float, float, float]:
    """Bytes a second of a copy; operations a second of torch.mm in float32, and in TF32 divided by three."""
    source = torch.ones(1 << 28, device="cuda")
    target = torch.empty_like(source)
    bandwidth = 2 * 4 * len(source) / (1e-3 * milliseconds(lambda: target.copy_(source), 10))
    x = torch.randn(8192, 8192, device="cuda")
    speeds = []
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        speeds.append(2 * 8192**3 / (1e-3 * milliseconds(lambda: torch.mm(x, x), 10)))
    torch.set_float32_matmul_precision("highest")
    return bandwidth, speeds[0], speeds[1] / 3


def captured(work: Callable[[], object]) -> Callable[[], object] | None:
    """The work as a CUDA graph, or None where it cannot be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    except RuntimeError:
        return None
    return graph.replay


def waits(work: Callable[[], object]) -> bool:
    """Whether the step makes the host wait for the GPU."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


def iterations(x: torch.Tensor, labels: torch.Tensor) -> int:
    """Steps that Sinkhorn's iteration takes, by bisection."""
    from batchot.losses.backends.triton import gpu_loss_and_error
    from batchot.losses.problem import Problem
    from batchot.losses.settings import BatchOTSettings

    settings = BatchOTSettings(lam=LAM, gamma=GAMMA, margin=MARGIN)
    low, high = 0, 64
    while high - low > 1:
        middle = (low + high) // 2
        fewer = dataclasses.replace(settings, max_iterations=middle)
        _, error = gpu_loss_and_error(Problem(x.detach(), labels, settings=fewer))
        low, high = (low, middle) if float(error) <= settings.tolerance else (middle, high)
    return high


def report(n: int, speeds: tuple[float, float, float], names: list[str]) -> None:
    from batchot.losses.backends.triton.solve import STORED_BYTES

    x = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(n)).cuda().requires_grad_()
    labels = (torch.arange(n) % 10).cuda()
    count = iterations(x, labels)
    stored = 4 * n * n <= STORED_BYTES
    moved = 2 * 4 * n * WIDTH + (4 * n * n * (count + 1) if stored else 0)
    computed = 2 * n * n * WIDTH * (3 + (0 if stored else count))
    bandwidth, *flops = speeds
    floor = max(1e3 * moved / bandwidth, 1e3 * computed / max(flops))
    print(
        f"\nn = {n}, {count} iterations, K {'stored' if stored else 'computed again in every pass'}: floor of bytes "
        f"{1e3 * moved / bandwidth:.4f} ms, of flops {1e3 * computed / flops[0]:.4f} (float32), "
        f"{1e3 * computed / flops[1]:.4f} (TF32 / 3)"
    )
    print(f"{'':<14} {'eager ms':>10} {'graph ms':>10} {'/ floor':>8} {'peak GiB':>9}  waits")
    everyone = steps()
    for name in names or list(everyone):
        step = everyone[name]

        def work(step: Step = step) -> None:
            x.grad = None
            step(x, labels).backward()

        repetitions = 100 if n <= 1024 else 20 if n <= 8192 else 3
        try:
            work()
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            eager = milliseconds(work, repetitions)
            peak = (torch.cuda.max_memory_allocated() - before) / 2**30
            waiting = waits(work)
            replay = None if waiting else captured(work)
            graph = milliseconds(replay, repetitions) if replay else float("nan")
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            print(f"{name:<14} out of memory", flush=True)
            continue
        best = min(eager, graph) if replay else eager
        print(
            f"{name:<14} {eager:>10.4f} {graph:>10.4f} {best / floor:>8.2f} {peak:>9.3f}  {'yes' if waiting else 'no'}",
            flush=True,
        )


def report_paths(n: int) -> None:
    """Forward and gradient by every path that takes this size."""
    from batchot.losses.backends.triton import persistent, small
    from batchot.losses.backends.triton.problem import Options, Problem
    from batchot.losses.backends.triton.solve import STORED_BYTES, Path, choose_path, solve

    x = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(n)).cuda()
    options = Options(MARGIN, 0.0, GAMMA, LAM, True, False, 1e-6, 1000, "tf32x3")
    limits: dict[Path, int] = {
        "small": small.LARGEST,
        "persistent": persistent.LARGEST,
        "stored": int((STORED_BYTES / 4) ** 0.5),
        "tiled": 1 << 30,
    }
    for path, limit in limits.items():
        if n > limit:
            continue
        for precision in ("tf32x3", "ieee"):
            p = Problem(
                x,
                None,
                (torch.arange(n) % 10).cuda(),
                None,
                True,
                dataclasses.replace(options, precision=precision),
            )

            def work(p: Problem = p, path: Path = path) -> object:
                return solve(p, path)

            error = float(solve(p, path).error)
            eager = milliseconds(work, 20 if n <= 8192 else 3)
            replay = captured(work)
            graph = milliseconds(replay, 20 if n <= 8192 else 3) if replay else float("nan")
            chosen = ", chosen" if path == choose_path(n, n) else ""
            print(
                f"  {path:<12} {precision:<7} eager {eager:.4f} graph {graph:.4f} ms, error {error:.1e}{chosen}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", nargs="+", default=[], help="names of what is compared")
    parser.add_argument("--paths", action="store_true", help="every way to find the scalings")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            f"This measures a GPU, and PyTorch {torch.__version__} sees none here. "
            "benchmarks/loss_scale.py measures CPUs."
        )
    speeds = machine()
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}: copy {speeds[0] / 1e12:.2f} TB/s, "
        f"torch.mm {speeds[1] / 1e12:.0f} TFLOP/s in float32, {speeds[2] / 1e12:.0f} in TF32 / 3"
    )
    for n in options.sizes:
        report(n, speeds, options.only)
        if options.paths:
            report_paths(n)


if __name__ == "__main__":
    main()
