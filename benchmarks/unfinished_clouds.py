"""How well a cloud seen from one side finds its class, by a trained run on point clouds.

    batchot train modelnet10 --data-root D --out RUN augment.partial=0.5
    python benchmarks/unfinished_clouds.py RUN --data-root D

Each test cloud asks for the other test clouds, which are whole: as it is, and with only those of its points that are
seen from a random direction, moved and scaled as a query is. Accuracy is that of the classifier.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from batchot import load_run, retrieval_scores
from batchot.data.augment.clouds import CloudAugmentation
from batchot.training.data import load_data
from batchot.training.evaluate import embed_samples
from batchot.training.recipes import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="from which sides")
    options = parser.parse_args()
    recipe = load_recipe(str(options.run / "config.yaml"))
    embedder = load_run(options.run)
    whole = load_data(recipe, options.data_root, tell=print).queries
    generator = torch.Generator().manual_seed(options.seed)
    half = replace(whole, points=CloudAugmentation(partial=1.0)(whole.points, generator))
    gallery = embed_samples(embedder, recipe, whole)
    print("| test clouds | accuracy | NN | FT | ST | DCG | mAP |\n|---|---|---|---|---|---|---|")
    for name, queries in (("whole", whole), ("from one side", half)):
        asked = embed_samples(embedder, recipe, queries)
        s = retrieval_scores(
            asked.embeddings,
            asked.labels,
            gallery.embeddings,
            gallery.labels,
            self_indices=torch.arange(len(whole)),
        )
        assert asked.logits is not None
        accuracy = (asked.logits.argmax(1) == asked.labels).float().mean().item()
        numbers = (accuracy, s.nn, s.ft, s.st, s.dcg, s.map)
        print(f"| {name} | " + " | ".join(f"{100 * number:.1f}" for number in numbers) + " |")


if __name__ == "__main__":
    main()
