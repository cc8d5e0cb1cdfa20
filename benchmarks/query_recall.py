"""What each kind of query finds in an index of the 1,258 targets of SHREC'13.

    batchot train shrec13 --data-root D --seed 0 --out RUN
    python benchmarks/query_recall.py RUN --data-root D --folder SCRATCH

Right is a shape of the class of the query, itself left out. Recall at 10: the right ones of the first ten results, in
ratio to as many as there could be, min(10, R) of the R right ones in the index. Hit at 10: the share of the queries
with a right one among the first ten. Means over queries.

drawing: official test sketches of the classes that are there. half a drawing: the first half of their ink along the
connected parts. photo: training photos of CIFAR-10, each of a class of theirs against classes of the targets. mesh: a
target. cloud: 4,096 points drawn on a target. half a cloud: those of them that are seen from one side, at a random
azimuth and an elevation of 0 to 45 degrees. name: each class name typed, with spaces.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from batchot.data.augment.clouds import seen_from
from batchot.data.augment.strokes import begun
from batchot.data.sets.psb import parse_cla
from batchot.data.sets.sketch_image import read_sketch
from batchot.search.build import Indexing, Progress, build_index
from batchot.search.records import Filters
from batchot.search.searcher import Answer, Searcher
from batchot.shapes import load_shape, sample_surface

FIRST, POINTS = 10, 4096
PHOTOS = {
    "airplane": ("airplane",),
    "automobile": ("car_sedan", "race_car", "suv"),
    "ship": ("ship", "sailboat"),
    "truck": ("truck", "pickup_truck"),
}
Asked = Iterator[tuple[Answer, tuple[str, ...], int]]  # answer, right classes, how many of them are left out


def gallery(root: Path, folder: Path) -> None:
    """Give the targets, which lie in one folder, folders by class."""
    (file,) = root.rglob("*Model.cla")
    models = {path.stem: path for path in root.rglob("*.off")}
    for name, class_name in parse_cla(file.read_text(), file).labelled():
        link = folder / class_name / f"{name}.off"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(models[name].absolute())


class Queries:
    """Asks an index with what it makes by a seed."""

    def __init__(self, searcher: Searcher, root: Path, count: int, clouds: int, seed: int) -> None:
        self.searcher, self.root, self.count, self.clouds, self.seed = searcher, root, count, clouds, seed
        classes = searcher.about.classes
        ids, names, _ = searcher.store.vectors()
        self.shapes = self.some(
            [pair for pair in zip(ids, names, strict=True) if classes[pair[1]] > 1], count
        )
        self.sketches = self.some(sorted((root / "shrec13").rglob("test/*.png")), count)

    def some(self, things: list, n: int) -> list:  # type: ignore[type-arg]
        """Draw n of them."""
        order = np.random.default_rng(self.seed).permutation(len(things))
        return [things[k] for k in order[:n]]

    def drawing(self) -> Asked:
        for file in self.sketches:
            answer = self.searcher.search_bytes(file.read_bytes(), kind="sketch", k=FIRST)
            yield answer, (file.parent.parent.name,), 0

    def half_a_drawing(self) -> Asked:
        for k, file in enumerate(self.sketches):
            whole = read_sketch(file, 192)
            assert whole is not None
            half = begun(torch.from_numpy(whole)[None, None], 0.5, self.seed + k)[0, 0]
            content = io.BytesIO()
            Image.fromarray(half.numpy()).save(content, "png")
            answer = self.searcher.search_bytes(content.getvalue(), kind="sketch", k=FIRST)
            yield answer, (file.parent.parent.name,), 0

    def photo(self) -> Asked:
        for class_name, right in PHOTOS.items():
            files = sorted((self.root / "cifar10" / "train" / class_name).iterdir())
            for file in self.some(files, self.count // len(PHOTOS)):
                yield self.searcher.search_bytes(file.read_bytes(), kind="photo", k=FIRST), right, 0

    def mesh(self) -> Asked:
        for id, class_name in self.shapes:
            yield self.searcher.similar(id, k=FIRST), (class_name,), 1

    def cloud(self, *, half: bool = False) -> Asked:
        generator = torch.Generator().manual_seed(self.seed)
        for k, (id, class_name) in enumerate(self.shapes[: self.clouds]):
            mesh = load_shape(self.searcher.shape(id).path, up="y")
            points = torch.from_numpy(sample_surface(mesh, POINTS, self.seed + k).points)
            if half:
                turn, up = (torch.rand(2, generator=generator) * torch.tensor([2, 0.25]) * math.pi).tolist()
                side = (math.cos(turn) * math.cos(up), math.sin(turn) * math.cos(up), math.sin(up))
                points = points[seen_from(points[None], torch.tensor([side], dtype=points.dtype))[0]]
            content = io.BytesIO()
            np.save(content, points.numpy().astype(np.float32))
            answer = self.searcher.search_bytes(
                content.getvalue(), "cloud.npy", up="z", k=FIRST, filters=Filters(exclude=(id,))
            )
            yield answer, (class_name,), 1

    def half_a_cloud(self) -> Asked:
        return self.cloud(half=True)

    def name(self) -> Asked:
        for class_name in sorted(self.searcher.about.classes):
            text = class_name.replace("_", " ").replace("-", " ")
            yield self.searcher.search_names(Filters(text=text), k=FIRST), (class_name,), 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-root", type=Path, required=True, help="where shrec13 and cifar10 lie")
    parser.add_argument("--folder", type=Path, required=True, help="for the index; one that is there is used")
    parser.add_argument("--count", type=int, default=240, help="of queries of a kind")
    parser.add_argument("--clouds", type=int, default=60, help="of clouds, which take seconds each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    gallery(options.data_root / "shrec13", options.folder / "shapes")
    index = options.folder / "s13.index"
    how = Indexing("y", progress=Progress(True, print))  # the benchmark's own models have y up
    build_index(options.run, options.folder / "shapes", index, how=how)
    with Searcher.open(index) as searcher:
        classes = searcher.about.classes
        queries = Queries(searcher, options.data_root, options.count, options.clouds, options.seed)
        print("| query | n | recall at 10 | hit at 10 | seconds a query |\n|---|---|---|---|---|", flush=True)
        kinds = (
            queries.drawing, queries.half_a_drawing, queries.photo, queries.mesh, queries.cloud,
            queries.half_a_cloud, queries.name,
        )  # fmt: skip
        for kind in kinds:
            label, start, recalls = kind.__name__.replace("_", " "), time.perf_counter(), []
            for answer, right, left_out in tqdm(kind(), desc=label, unit="query", leave=False):
                found = sum(hit.class_name in right for hit in answer.hits)
                recalls.append(found / min(FIRST, sum(classes[name] for name in right) - left_out))
            n, hits = len(recalls), np.count_nonzero(recalls)
            seconds = (time.perf_counter() - start) / n
            print(
                f"| {label} | {n} | {100 * np.mean(recalls):.1f} | {100 * hits / n:.1f} | {seconds:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
