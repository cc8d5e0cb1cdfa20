"""Forward and backward from n = 64 to 65,536 on a CPU: ours against its peers, and against what the machine allows.

    python benchmarks/loss_scale.py                        # all sizes: about half an hour
    python benchmarks/loss_scale.py --sizes 64 1024 4096
    python benchmarks/loss_scale.py --gib 8                # memory that a process may take

Each size runs in a process of its own that may not take more than --gib; what does not fit is said to be out of memory.
Times are medians of alternating repetitions, d = 128, ten classes, lam 5. Peers: ContrastiveLoss and SupConLoss of
pytorch-metric-learning as they come; our loss with the plan of POT (torch backend, stopped at 1e-6 as
ours is) and of GeomLoss (20 iterations, which leave an error of 1e-4; it has no other stop). The floors: bytes
of the embeddings read and their gradient written, over the bandwidth that a copy reaches; operations of the products
X X^T and W X of half a symmetric matrix, over the speed that torch.mm reaches.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from loss_peers import GAMMA, LAM, MARGIN, PEERS, SIZES, WIDTH, Step, peers


def steps() -> dict[str, Step]:
    """What is compared."""
    from batchot import BatchOTLoss

    return {"batch-ot": BatchOTLoss(lam=LAM, gamma=GAMMA, margin=MARGIN), **peers()}


def seconds(work: Callable[[], object], repetitions: int) -> float:
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def machine() -> tuple[float, float]:
    """Bytes and multiplications with additions a second."""
    source = torch.ones(1 << 26)
    target = torch.empty_like(source)
    copied = 2 * 4 * len(source) / seconds(lambda: target.copy_(source), 7)
    x = torch.randn(4096, 4096)
    out = torch.empty(4096, 4096)
    return copied, 4096**3 / seconds(lambda: torch.mm(x, x, out=out), 5)


def measure(n: int, gib: float) -> dict[str, float | str]:
    """Milliseconds of each at one size, in this process."""
    whole = int(gib * 2**30)
    x = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(n), requires_grad=True)
    labels = torch.arange(n) % 10
    everyone = steps()
    for step in everyone.values():  # compiles, and loads what is loaded at first use
        step(x[:64].detach().requires_grad_(), labels[:64]).backward()
    resource.setrlimit(resource.RLIMIT_AS, (whole, whole))
    repetitions = 100 if n <= 512 else 21 if n <= 2048 else 5 if n <= 8192 else 1
    found: dict[str, list[float] | str] = {name: [] for name in everyone}
    for repetition in range(repetitions + (1 if n <= 8192 else 0)):
        for name, step in everyone.items():
            times = found[name]
            if isinstance(times, str):
                continue
            x.grad = None
            start = time.perf_counter()
            try:
                step(x, labels).backward()
            except (RuntimeError, MemoryError) as error:
                if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                    raise
                found[name] = "out of memory"
                continue
            if repetition or n > 8192:
                times.append(1e3 * (time.perf_counter() - start))
    return {name: t if isinstance(t, str) else statistics.median(t) for name, t in found.items()}


def peak(n: int) -> float:
    """GiB that our loss adds to the process at its peak, forward and backward (Linux)."""
    from batchot import BatchOTLoss

    loss = BatchOTLoss(lam=LAM, gamma=GAMMA, margin=MARGIN)
    x = torch.randn(n, WIDTH, requires_grad=True)
    labels = torch.arange(n) % 10
    loss(x[:64].detach().requires_grad_(), labels[:64]).backward()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = resident("VmRSS")
    loss(x, labels).backward()
    return (resident("VmHWM") - before) / 2**20


def resident(which: str) -> int:
    """KiB of memory of this process: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(which)).split()[1])


def child(*arguments: str) -> dict[str, float | str]:
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stderr[-3000:]}")
    answer: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def row(n: int, gib: float, bandwidth: float, speed: float) -> str:
    ms = child("--one", str(n), "--gib", str(gib))
    memory = float(child("--peak", str(n))["gib"])
    ours = float(ms["batch-ot"])
    moved = 1e3 * 2 * 4 * n * WIDTH / bandwidth
    counted = 1e3 * n * n * WIDTH / speed  # two products, of half the pairs each

    def shown(value: float | str) -> str:
        return value if isinstance(value, str) else f"{value:.3g} ({value / ours:.1f})"

    peers = " | ".join(shown(ms[name]) for name in PEERS)
    return f"| {n:,} | {ours:.3g} | {peers} | {moved:.2g} | {counted:.2g} | {memory:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--gib", type=float, default=16.0, help="memory that a process may take")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.gib)))
        return
    if options.peak:
        print(json.dumps({"gib": peak(options.peak)}))
        return
    bandwidth, speed = machine()
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; a copy moves {bandwidth / 1e9:.1f} GB/s, "
        f"torch.mm does {2 * speed / 1e9:.0f} GFLOP/s\n\n"
        "ms forward + backward (times ours), floors in ms, memory that ours adds in GiB\n\n"
        f"| n | batch-ot | {' | '.join(PEERS)} | floor, bytes | floor, products | GiB |\n|{'---|' * (len(PEERS) + 5)}"
    )
    for n in options.sizes:
        print(row(n, options.gib, bandwidth, speed), flush=True)


if __name__ == "__main__":
    main()
