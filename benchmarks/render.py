"""Throughput of 12 shaded views of 224 x 224, four samples a pixel, against other headless renderers.

    python benchmarks/render.py FOLDER                       all meshes under FOLDER, up to 40 drawn by lot
    python benchmarks/render.py FOLDER --peers-python P      the others live in another environment, interpreter P

Each renderer is a process of its own on one core. Mesh after mesh, all of them draw it in turn, three times, so that
a busy machine slows down all; the seconds are those of the processor (all threads) from arrays of vertices and faces
to uint8 pixels, after warming up. Peers that are not installed or do not start are named. "agrees" is the share of
pixels on which the peer and ours agree whether there is anything: that it draws the same shape.

The others: pip install moderngl pyvista embreex pyrender trimesh, and apt-get install libegl1 libgl1-mesa-dri.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from render_peers import RENDERERS, View

ENDINGS = {".obj", ".off", ".ply", ".stl", ".glb"}
PATIENCE = 90.0  # seconds for one answer of a renderer


def serve(name: str, folder: Path) -> None:
    """Draw mesh after mesh whose numbers come in, and answer with the seconds that each took."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cameras = np.load(folder / "cameras.npz")
    draw = RENDERERS[name](
        View(cameras["rotations"], float(cameras["distance"]), float(cameras["extent"]), int(cameras["size"]))
    )
    print("ready", file=answers)
    for line in sys.stdin:
        with np.load(folder / f"{int(line)}.npz") as mesh:
            vertices, faces = mesh["vertices"], mesh["faces"]
        start = time.process_time()
        pixels = draw(vertices, faces)
        seconds = time.process_time() - start
        np.save(folder / f"{name}.npy", pixels)
        print(seconds, file=answers)


class Renderer:
    """A renderer in a process of its own."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        one_thread = {f"{k}_NUM_THREADS": "1" for k in ("OMP", "NUMBA", "LP", "OPENBLAS", "MKL")}
        self.log = (folder / f"{name}.log").open("w")
        self.process = subprocess.Popen(
            [python, __file__, str(folder), "--serve", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **one_thread, "PYVISTA_OFF_SCREEN": "true"},
        )

    def answer(self) -> str | None:
        """The next line, or nothing if the process has ended or is silent."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        return (self.process.stdout.readline().strip() or None) if ready else None

    def seconds(self, mesh: int) -> float | None:
        assert self.process.stdin is not None
        try:
            print(mesh, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return None
        answer = self.answer()
        return float(answer) if answer else None

    def pixels(self) -> np.ndarray:
        return np.load(self.folder / f"{self.name}.npy")

    def why(self) -> str:
        self.process.kill()
        lines = (self.folder / f"{self.name}.log").read_text().strip().splitlines()
        return lines[-1] if lines else "no answer"


def prepare(options: argparse.Namespace, folder: Path) -> list[int]:
    """Write the cameras and the meshes where the processes find them; returns the numbers of faces."""
    from batchot.shapes import Mesh, ShapeError
    from batchot.shapes.formats.read import load_shape
    from batchot.shapes.render.cameras import make_cameras

    cameras = make_cameras("circle-12")
    np.savez(
        folder / "cameras.npz",
        rotations=cameras.rotations,
        distance=cameras.distance,
        extent=cameras.extent,
        size=options.size,
    )
    paths = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    random.Random(0).shuffle(paths)
    faces: list[int] = []
    for path in paths:
        if len(faces) == options.count:
            break
        try:
            mesh = load_shape(path)
        except ShapeError as error:
            print(f"left out: {error}")
            continue
        if isinstance(mesh, Mesh):
            np.savez(folder / f"{len(faces)}.npz", vertices=mesh.vertices, faces=mesh.faces)
            faces.append(len(mesh.faces))
    if not faces:
        sys.exit(f"there is no mesh under {options.folder}")
    return faces


def compare(options: argparse.Namespace, folder: Path) -> None:
    faces = prepare(options, folder)
    running: list[Renderer] = []
    for name in RENDERERS:
        renderer = Renderer(name, sys.executable if name == "batchot" else options.peers_python, folder)
        if renderer.answer() == "ready" and renderer.seconds(0) is not None:
            running.append(renderer)
        else:
            print(f"{name} does not run here: {renderer.why()}")
    times: dict[str, list[float]] = {renderer.name: [] for renderer in running}
    agreement: dict[str, list[float]] = {renderer.name: [] for renderer in running}
    for mesh in range(len(faces)):
        tries: dict[str, list[float]] = {name: [] for name in times}
        for _ in range(3):
            for renderer in list(running):
                seconds = renderer.seconds(mesh)
                if seconds is None:
                    print(f"{renderer.name} stopped at mesh {mesh}: {renderer.why()}")
                    running.remove(renderer)
                else:
                    tries[renderer.name].append(seconds)
        seen = running[0].pixels() < 250
        for renderer in running:
            times[renderer.name].append(statistics.median(tries[renderer.name]))
            agreement[renderer.name].append(float(((renderer.pixels() < 250) == seen).mean()))
    for renderer in running:
        renderer.process.kill()
    report(faces, times, agreement, options.size)


def report(
    faces: list[int], times: dict[str, list[float]], agreement: dict[str, list[float]], size: int
) -> None:
    print(
        f"{len(faces)} meshes of {min(faces)} to {max(faces)} faces (median {statistics.median(faces):g}), "
        f"12 views of {size} x {size}, one core of {platform.processor() or platform.machine()}"
    )
    print(f"{'renderer':10} {'ms a mesh':>10} {'meshes/s':>9} {'views/s':>9} {'ratio':>7} {'agrees':>8}")
    for name, seconds in times.items():
        ratio = statistics.median(s / ours for s, ours in zip(seconds, times["batchot"], strict=False))
        print(
            f"{name:10} {1e3 * statistics.median(seconds):>10.2f} {len(seconds) / sum(seconds):>9.1f} "
            f"{12 * len(seconds) / sum(seconds):>9.0f} {ratio:>7.2f} {statistics.mean(agreement[name]):>8.2%}"
        )
    print(
        "ms: the median over meshes; meshes/s: over all of them; ratio: median of the peer's time to ours, by mesh"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=40, help="of meshes, drawn by lot with a fixed seed")
    parser.add_argument("--size", type=int, default=224, help="of a view, pixels")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="interpreter that has the other renderers"
    )
    parser.add_argument("--serve", choices=list(RENDERERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


if __name__ == "__main__":
    main()
