"""How well clouds that are seen from one side find shapes, by a trained run on clouds.

    batchot train modelnet40-points precision=32 --data-root D --out RUN
    batchot train modelnet40-points precision=32 augment.partial=0.5 --data-root D --out OTHER
    python benchmarks/partial_clouds.py RUN OTHER --data-root D

The test clouds ask for the training clouds: whole, and as they are seen from one side, from any direction.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from batchot import load_run, retrieval_scores
from batchot.data import CloudAugmentation
from batchot.data.clouds import Clouds
from batchot.training.data import load_data
from batchot.training.recipes import load_recipe
from batchot.training.run import embed_samples


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the directions")
    options = parser.parse_args()
    print("| run | query | NN | FT | ST | DCG | mAP |\n|---|---|---|---|---|---|---|")
    for run in options.runs:
        recipe = load_recipe(str(run / "config.yaml"), [])
        embedder, splits = load_run(run), load_data(recipe, options.data_root).sets[recipe.query]
        whole = splits.test.batch(torch.arange(len(splits.test)))
        side = CloudAugmentation(partial=1.0)(whole, torch.Generator().manual_seed(options.seed))
        gallery = embed_samples(embedder, recipe, splits.train)
        for label, points in (("whole", whole), ("one side", side)):
            clouds = Clouds(points, splits.test.labels, splits.test.classes, splits.test.names)
            asked = embed_samples(embedder, recipe, clouds)
            s = retrieval_scores(
                asked.embeddings, asked.labels, gallery.embeddings, gallery.labels, distance="cosine"
            )
            numbers = (s.nn, s.ft, s.st, s.dcg, s.map)
            print(
                f"| {run.name} | {label} | " + " | ".join(f"{100 * number:.1f}" for number in numbers) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
