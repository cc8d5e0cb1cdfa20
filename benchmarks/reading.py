"""Megabytes of shape files read in a second, and trimesh's on the same files, as ratios within one run.

    python benchmarks/reading.py psb_meshes                     # the files as they are
    python benchmarks/reading.py psb_meshes --formats off ply stl xyz glb   # and written anew in other formats

Files are read one by one in one process, each by both readers in turn, so that a noisy neighbour hits both alike.
trimesh reads without merging vertices (process=False), which is the least that it does.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import trimesh

from batchot import load_shape

SUFFIXES = {".off", ".obj", ".ply", ".stl", ".xyz", ".glb"}


def written(files: list[Path], suffix: str, folder: Path) -> list[Path]:
    """The shapes of the files in another format, as trimesh writes it; points for .xyz."""
    out = []
    for k, file in enumerate(files):
        mesh = trimesh.load(file, process=False, force="mesh")
        path = folder / f"{k}{suffix}"
        if suffix == ".xyz":
            np.savetxt(path, mesh.vertices, fmt="%.6f")
        else:
            mesh.export(path)
        out.append(path)
    return out


def seconds(files: list[Path], rounds: int) -> tuple[float, float]:
    """Seconds for all files of load_shape and of trimesh, the sum of each file's median over the rounds."""
    ours = theirs = 0.0
    for file in files:
        times: list[tuple[float, float]] = []
        for _ in range(rounds):
            start = time.perf_counter()
            load_shape(file)
            middle = time.perf_counter()
            trimesh.load(file, process=False)
            times.append((middle - start, time.perf_counter() - middle))
        ours += statistics.median(each[0] for each in times)
        theirs += statistics.median(each[1] for each in times)
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=60, help="files, evenly over the folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--formats", nargs="*", default=[], help="also written anew as off, obj, ply, stl, xyz, glb"
    )
    args = parser.parse_args()
    found = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = found[:: max(1, len(found) // args.count)][: args.count]
    load_shape(files[0])  # compiles
    print(
        f"{platform.processor() or platform.machine()}, trimesh {trimesh.__version__}, {len(files)} files\n"
    )
    print(f"{'format':>8}  {'MB':>7}  {'batchot, MB/s':>13}  {'trimesh, MB/s':>13}  {'ratio':>6}")
    with tempfile.TemporaryDirectory() as scratch:
        sets = [("given", files)]
        sets += [(name, written(files, f".{name}", Path(scratch))) for name in args.formats]
        for name, paths in sets:
            load_shape(paths[0])
            size = sum(path.stat().st_size for path in paths) / 1e6
            ours, theirs = seconds(paths, args.rounds)
            print(f"{name:>8}  {size:7.1f}  {size / ours:13.1f}  {size / theirs:13.1f}  {theirs / ours:6.2f}")


if __name__ == "__main__":
    main()
