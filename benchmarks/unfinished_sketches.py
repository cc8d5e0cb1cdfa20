"""How well the first part of a sketch finds its shapes, by a trained cross-modal run.

    python benchmarks/unfinished_sketches.py runs/shrec13 --data-root D
    python benchmarks/unfinished_sketches.py RUN --data-root D sketch.data.name=quickdraw sketch.data.folder=quickdraw

The test sketches are shown when 25, 50, 75 and 100 % of their ink are on the paper: the first strokes where strokes
are known (Quick, Draw!, traced line drawings), else along the connected parts of the picture. Overrides change what is
asked, not the network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from batchot import load_run, retrieval_scores
from batchot.data.augment.strokes import begun_samples
from batchot.training.data import load_data
from batchot.training.evaluate import embed_samples
from batchot.training.recipes import load_recipe

SHARES = (0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="where in a picture it begins")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    overrides = [tuple(text.split("=", 1)) for text in options.overrides]
    recipe = load_recipe(str(options.run / "config.yaml"), overrides)
    embedder = load_run(options.run)
    data = load_data(recipe, options.data_root, tell=print, progress=True)
    gallery = embed_samples(embedder, recipe, data.gallery, recipe.target)
    print("| ink on the paper | NN | FT | ST | DCG | mAP |\n|---|---|---|---|---|---|")
    for share in SHARES:
        queries = begun_samples(data.queries, share, options.seed) if share < 1 else data.queries
        asked = embed_samples(embedder, recipe, queries, recipe.query)
        s = retrieval_scores(
            asked.embeddings, asked.labels, gallery.embeddings, gallery.labels, distance="cosine"
        )
        numbers = (s.nn, s.ft, s.st, s.dcg, s.map)
        print(f"| {share:.0%} | " + " | ".join(f"{100 * number:.1f}" for number in numbers) + " |")


if __name__ == "__main__":
    main()
