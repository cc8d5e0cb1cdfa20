"""Rendering and embedding over Ray workers against one process: the same bits, the speed-up, a lost worker.

    python benchmarks/ray_workers.py --shapes 2000 --out SCRATCH          # built-in shapes
    python benchmarks/ray_workers.py --folder MESHES --out SCRATCH

Three times each of render and embed, as a user types them, each into a cache folder of its own: one process, the
Ray workers, and the Ray workers of which one is killed (SIGKILL) when half of the views are there. All files are
compared byte by byte. Torch has one thread in every process. The network is that of the recipe shape-folder
after one epoch on a few shapes, because its weights do not matter here.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from batchot.shapes.library import CLASS_NAMES, write_library


def main() -> None:
    """Run it and print a table; exit status 1 where the files differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", type=int, default=2000, help="built-in shapes (2000)")
    parser.add_argument("--folder", type=Path, help="a folder of shapes instead")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=64, help="height and width of a view, pixels (64)")
    parser.add_argument("--out", type=Path, required=True, help="scratch folder, empty or new")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if any(options.out.iterdir()):
        sys.exit(f"{options.out} is not empty; give a new folder")
    out = options.out.resolve()
    per_class = -(-options.shapes // len(CLASS_NAMES))
    folder = options.folder or write_library(out / "shapes", per_class=per_class)
    seen = ["--cameras", "circle-12", "--channels", "shaded,depth", "--size", str(options.size)]
    run = some_run(out, options.size)
    warm_up(out, seen)
    ray = ["--engine", "ray", "--workers", str(options.workers)]
    rows = {
        "one process": measure(out / "one", folder, run, [*seen, "--processes", "1"], [], None),
        f"{options.workers} Ray workers": measure(out / "ray", folder, run, [*seen, *ray], ray, None),
        "the same, one killed half way": measure(
            out / "killed", folder, run, [*seen, *ray], ray, out / "one"
        ),
    }
    reference = contents(out / "one")
    print(f"\n{len([name for name in reference if name.endswith('.npy')]):,} shapes of {folder}")
    print("| | render s | embed s | render ratio | embed ratio | same files |\n|---|---|---|---|---|---|")
    first = rows["one process"]
    same = True
    for (name, times), place in zip(rows.items(), ("one", "ray", "killed"), strict=True):
        equal = contents(out / place) == reference
        same = same and equal
        ratios = [f"{a / b:.2f}" for a, b in zip(first, times, strict=True)]
        print(
            f"| {name} | {times[0]:.1f} | {times[1]:.1f} | {ratios[0]} | {ratios[1]} | {'yes' if equal else 'NO'} |"
        )
    print(json.dumps({"shapes": len(reference) - 1, "workers": options.workers, "seconds": rows}))
    sys.exit(0 if same else 1)


def measure(
    place: Path, folder: Path, run: Path, render: list[str], embed: list[str], kill_as_in: Path | None
) -> tuple[float, float]:
    """Seconds of rendering and of embedding with the views there."""
    killer = Killer(place, kill_as_in) if kill_as_in is not None else None
    first = command(place, ["render", str(folder), *render], killer)
    arguments = ["embed", str(run), str(folder), "--out", str(place / "embeddings.npz"), "--device", "cpu"]
    second = command(place, [*arguments, *embed], None)
    if killer is not None and not killer.killed:
        sys.exit("no worker was killed: the collection is too small for it")
    return first, second


def command(place: Path, arguments: list[str], killer: Killer | None) -> float:
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    print(f"$ batchot {' '.join(arguments)}", flush=True)
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "batchot.cli", *arguments], env=environment)
    if killer is not None:
        killer.watch(process)
    if process.wait() not in (0, 1):  # 1: some shapes could not be read, which is so with every engine
        sys.exit(f"it ended with status {process.returncode}")
    return time.monotonic() - started


class Killer:
    """Kills a Ray worker of a command when half of the views of another one are there."""

    def __init__(self, place: Path, as_in: Path) -> None:
        self.place, self.half = place, len(views(as_in)) // 2
        self.killed: int | None = None

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Begin."""
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and self.killed is None:
            time.sleep(0.05)
            if len(views(self.place)) >= self.half and (seats := seats_below(process.pid)):
                self.killed = seats[0]
                print(f"killing worker {self.killed}", flush=True)
                os.kill(self.killed, signal.SIGKILL)


def seats_below(pid: int) -> list[int]:
    """Processes of a Ray worker of ours that descend from a process."""
    parents, seats = {}, []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if b"ray::Seat" in (entry / "cmdline").read_bytes():
                seats.append(int(entry.name))
        except OSError:
            continue

    def descends(child: int) -> bool:
        while child > 1 and child != pid:
            child = parents.get(child, 0)
        return child == pid

    return sorted(seat for seat in seats if descends(seat))


def views(place: Path) -> list[Path]:
    """The files of views below a folder."""
    return list(place.glob("cache/batchot/views/*/??/*.npy"))


def contents(place: Path) -> dict[str, bytes]:
    """All that was made, by name."""
    return {path.name: path.read_bytes() for path in [*views(place), place / "embeddings.npz"]}


def some_run(out: Path, size: int) -> Path:
    """A run whose network is that of the recipe."""
    few = write_library(out / "few", per_class=8, classes=CLASS_NAMES[:8])
    arguments = [
        "train",
        "shape-folder-scratch",
        "--data-root",
        str(few),
        "--out",
        str(out / "run"),
        "--device",
        "cpu",
    ]
    command(out / "training", [*arguments, "epochs=1", "precision=32", f"shapes.size={size}"], None)
    return out / "run"


def warm_up(out: Path, seen: list[str]) -> None:
    """Compile what is compiled at the first use on a machine."""
    command(out / "warm", ["render", str(out / "few"), *seen], None)


if __name__ == "__main__":
    main()
