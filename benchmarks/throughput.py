"""Where the time of a training step goes, and what precision, layout and chunks do to it, as ratios within one run.

    python benchmarks/throughput.py                                  # on data that is made here
    python benchmarks/throughput.py --data-root D --kinds mnist cifar10 modelnet40 modelnet40-points
    python benchmarks/throughput.py --accuracy --data-root D         # bf16 against float32: time, mAP after an epoch
    python benchmarks/throughput.py --memory                         # a large batch at once and in chunks

A row is a recipe in one of its variants. The variants take turns, a few steps each, so that a busy machine hits all
alike; times are medians over the turns. "making" is what it costs to make a batch while the network rests, as a share
of the step: what the background has to do. "waiting" is how long the step waited for it.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from batchot.towers.embedder import Outputs
from batchot.towers.spec import Samples
from batchot.towers.tower import channels_last
from batchot.training.data import load_data, preparations, sampler_of, training_batches
from batchot.training.inputs import input_shape
from batchot.training.learner import Learner
from batchot.training.network import seen_as
from batchot.training.recipes import load_recipe
from batchot.training.run import train

Overrides = list[tuple[str, str]]
SPLATTED = "shapes.views=splatted shapes.cameras=box-6 augment.scale=0.1 model.backbone=resnet18-w16-s2"
KINDS = {  # made here: the recipe, the folder of its data, what is changed
    "images": ("image-folder-scratch", "images", ""),
    "views": ("shape-folder-scratch", "shapes", ""),
    "splatted": ("shape-folder-scratch", "shapes", SPLATTED),
    "points": ("shape-folder-scratch", "shapes", "model.name=pointnet shapes.points=1024 augment.scale=0.1"),
    "sketches": ("sketch-folder-scratch", "", ""),
}
VARIANTS = {
    "float32": "precision=32 channels_last=false",
    "channels-last": "precision=32 channels_last=true",
    "bf16": "precision=bf16 channels_last=false",
    "bf16, channels-last": "precision=bf16 channels_last=true",
    "bf16, channels-last, chunks": "precision=bf16 channels_last=true batch.chunk={quarter}",
}
LARGE = {"lenet": 1024, "mvcnn": 256}  # samples of a batch of --memory
PARTS = ("waiting", "forward", "loss", "backward", "optimiser")
CLASSES = 8


def make_data(root: Path, per_class: int) -> None:
    """Shapes, JPEG pictures and PNG drawings of them, a folder a class."""
    from batchot.shapes.library import CLASS_NAMES, generate_shape
    from batchot.shapes.render.render import render_views

    for name in CLASS_NAMES[:CLASSES]:
        for k in range(per_class):
            mesh = generate_shape(name, k)
            lines = ["OFF", f"{len(mesh.vertices)} {len(mesh.faces)} 0"]
            lines += [" ".join(f"{x:.6f}" for x in vertex) for vertex in mesh.vertices]
            lines += ["3 " + " ".join(map(str, face)) for face in mesh.faces]
            pixels = render_views(mesh, "box-6", size=128, channels=("shaded", "lines"))[k % 6]
            for kind, ending, content in (
                ("shapes", "off", "\n".join(lines) + "\n"),
                ("images", "jpg", pixels[0]),
                ("sketches", "png", pixels[1]),
            ):
                file = root / kind / name / f"{k}.{ending}"
                file.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, str):
                    file.write_text(content)
                else:
                    Image.fromarray(np.asarray(content)).save(file)


def pairs(text: str) -> Overrides:
    return [(name, value) for name, _, value in (word.partition("=") for word in text.split())]


class Job:
    """A recipe in one variant, to be trained a few steps at a time."""

    def __init__(self, recipe: Any, root: Path, ahead: int) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        started = time.perf_counter()
        self.learner, self.batches = self._made(root, ahead)
        self.loading = time.perf_counter() - started
        self.optimiser = self.learner.configure_optimizers()["optimizer"]
        self.stream = self._endless()
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def _made(self, root: Path, ahead: int) -> tuple[Learner, Any]:
        recipe = self.recipe
        data = load_data(recipe, root)
        prepared, sampler = preparations(recipe, data), sampler_of(recipe, data)
        batches = training_batches(recipe, sampler, data.train, prepared)
        batches.ahead = ahead
        seen = {n: seen_as(input_shape(prepared[n], part), prepared[n]) for n, part in data.train.items()}
        return Learner(recipe, data.classes, len(batches), seen), batches

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.batches

    def _outputs(self, batch: Any) -> Any:
        return {
            name: self.learner.run_network(name, x, chunk=self.recipe.towers[name].batch.chunk)
            for name, (x, _) in batch.items()
        }

    def _loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        return self.learner.loss(outputs, {name: y for name, (_, y) in batch.items()})

    def turn(self, steps: int, warm: bool) -> None:
        """Train some steps, and note the mean seconds of each part of them."""
        self.learner.train()
        sums = dict.fromkeys(PARTS, 0.0)
        for _ in range(steps):
            clock = [time.perf_counter()]
            batch = next(self.stream)
            clock.append(time.perf_counter())
            with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                outputs = self._outputs(batch)
            clock.append(time.perf_counter())
            loss = self._loss(outputs, batch)
            clock.append(time.perf_counter())
            loss.backward()
            clock.append(time.perf_counter())
            self.optimiser.step()
            self.optimiser.zero_grad()
            clock.append(time.perf_counter())
            for part, start, end in zip(PARTS, clock, clock[1:], strict=False):
                sums[part] += (end - start) / steps
        if not warm:
            for part, seconds in sums.items():
                self.seconds[part].append(seconds)
            self.seconds["step"].append(sum(sums.values()))

    def making(self, batches: int = 3) -> float:
        """Seconds to make a batch while nothing else is done."""
        order = self.batches._order(0)
        started = time.perf_counter()
        for k in range(batches):
            self.batches._make(order[k % len(order)], 0, k)
        return (time.perf_counter() - started) / batches

    def median(self, part: str) -> float:
        return statistics.median(self.seconds[part])


def measure(kind: str, root: Path, options: argparse.Namespace) -> None:
    name, folder, changes = KINDS.get(kind, (kind, "", ""))
    size = pairs(f"batch.size={options.batch}") if options.batch else []
    jobs: dict[str, Job] = {}
    for variant in options.variants:
        plain = load_recipe(name, [*pairs(changes), *size])
        quarter = max(batch_sizes(plain)) // 4
        overrides = [*pairs(changes), *size, *pairs(VARIANTS[variant].format(quarter=quarter))]
        jobs[variant] = Job(load_recipe(name, overrides), root / folder, options.ahead)
    making = []
    for turn in range(options.turns + 1):
        for job in jobs.values():
            job.turn(options.steps, warm=turn == 0)
        making.append(next(iter(jobs.values())).making())
    first = jobs[options.variants[0]]
    samples = sum(batch_sizes(first.recipe))
    print(f"\n{kind} (recipe {name}, {samples} samples a batch; loaded in {first.loading:.1f} s)")
    columns = "".join(f"{part:>11}" for part in (*PARTS, "making"))
    print(f"{'':<30}{'samples/s':>10}{'speed':>8}{columns}")
    for variant, job in jobs.items():
        step = job.median("step")
        # the ratio of a turn of one to the turn of the other beside it
        speed = statistics.median(
            a / b for a, b in zip(first.seconds["step"], job.seconds["step"], strict=True)
        )
        shares = "".join(f"{100 * job.median(part) / step:>10.1f}%" for part in PARTS)
        made = f"{100 * statistics.median(making) / step:>10.1f}%"
        print(f"{variant:<30}{samples / step:>10.0f}{speed:>8.2f}{shares}{made}", flush=True)


def batch_sizes(recipe: Any) -> list[int]:
    """Samples a batch of each tower."""
    return [tower.batch.size for tower in recipe.towers.values()]


def compare_accuracy(root: Path, options: argparse.Namespace) -> None:
    print("one epoch, float32 against bf16, each seed in turn: seconds of training and mAP, %")
    for name, limit in (
        ("mnist", 6000),
        ("cifar10", 6000),
        ("modelnet40", 960),
        ("modelnet40-points", 4000),
    ):
        found: dict[str, list[tuple[float, float]]] = {"32": [], "bf16": []}
        for seed in range(options.seeds):
            for precision, rows in found.items():
                changes = f"precision={precision} seed={seed} epochs=1 data.limit={limit} evaluation.train_samples=100"
                with tempfile.TemporaryDirectory() as out:
                    run = train(
                        load_recipe(name, pairs(changes)), Path(out) / "run", data_root=root, device="cpu"
                    )
                rows.append((run.rows[-1].seconds, 100 * (run.rows[-1].map or 0.0)))
        speed = statistics.median(a[0] / b[0] for a, b in zip(found["32"], found["bf16"], strict=True))
        scores = {p: " ".join(f"{row[1]:.2f}" for row in rows) for p, rows in found.items()}
        print(
            f"{name:<20} speed of bf16 {speed:.2f}; mAP 32: {scores['32']}; bf16: {scores['bf16']}",
            flush=True,
        )


def memory_of(kind: str, chunk: int, precision: str) -> None:
    """Print what steps of a large batch take, in this process."""
    views = kind == "mvcnn"
    size = LARGE[kind]
    changes = f"batch.size={size} batch.chunk={chunk} precision={precision}"
    recipe = load_recipe("modelnet40" if views else "mnist", pairs(changes))
    shape = (6, 1, 64, 64) if views else (1, 28, 28)
    learner = Learner(recipe, tuple("abcdefghij"), 1, {"model": Samples(shape, (), ())})
    x, labels = channels_last(torch.randn(size, *shape)), torch.arange(size) % 10
    embeddings, logits = (torch.randn(size, d, requires_grad=True) for d in (recipe.model.widths[-1], 10))
    given = {"model": Outputs(embeddings, logits)}
    learner.loss(given, {"model": labels}).backward()  # so that what the loss takes is not counted
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        outputs = {"model": learner.run_network("model", x, chunk=chunk)}
    learner.loss(outputs, {"model": labels}).backward()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)


def compare_memory() -> None:
    print(f"a step of {LARGE} samples: peak resident memory above data, weights and what a loss takes, MiB")
    # large blocks go back to the system at once, so that what is freed is not counted as used
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576"}
    for kind, chunks in (("lenet", (0, 256, 32)), ("mvcnn", (0, 64, 16))):
        for precision in ("32", "bf16"):
            for chunk in chunks:
                command = [sys.executable, __file__, "--one-memory", kind, str(chunk), precision]
                out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                mib = float(out.stdout)
                print(f"{kind:<6} precision {precision:<5} chunk {chunk or 'off':<5} {mib:>7.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kinds", nargs="+", default=list(KINDS), help="those made here, or names of recipes"
    )
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--data-root", type=Path, help="where the data of recipes lies")
    parser.add_argument("--batch", type=int, help="samples a batch, in the place of the recipe's")
    parser.add_argument("--ahead", type=int, default=2, help="batches that are made ahead")
    parser.add_argument("--steps", type=int, default=3, help="of a turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--per-class", type=int, default=30, help="samples that are made of each class")
    parser.add_argument("--seeds", type=int, default=3, help="of --accuracy")
    parser.add_argument("--accuracy", action="store_true", help="float32 against bf16 over an epoch")
    parser.add_argument("--memory", action="store_true", help="a large batch at once and in chunks")
    parser.add_argument("--one-memory", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_memory:
        memory_of(options.one_memory[0], int(options.one_memory[1]), options.one_memory[2])
        return
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if options.memory:
        compare_memory()
        return
    if options.accuracy:
        compare_accuracy(options.data_root, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # views of shapes that are made here are not to be kept
        made = Path(folder) / "data"
        if any(kind in KINDS for kind in options.kinds):
            make_data(made, options.per_class)
        for kind in options.kinds:
            measure(kind, made if kind in KINDS else options.data_root, options)


if __name__ == "__main__":
    main()
