"""What the features of a recipe's pretrained backbone are worth before any training, by cosine.

    python benchmarks/raw_features.py shape-folder --data-root psb_meshes shapes.min_class=20 data.shots=5 seed=0

mAP of the test samples among themselves, and the share of them whose nearest training sample is of their class: what
`batchot train` with the same arguments begins with. The features are those that it keeps, so they are made once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from batchot.data import Samples
from batchot.evaluation import retrieval_scores
from batchot.training.data import keep, load_splits
from batchot.training.inputs import input_shape, prepare
from batchot.training.network import make_network, seen_as
from batchot.training.recipes import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("settings", nargs="*", help="such as data.shots=5")
    options = parser.parse_intermixed_args()
    overrides = [(name, value) for name, _, value in (text.partition("=") for text in options.settings)]
    recipe = load_recipe(options.recipe, overrides)
    part = recipe.parts[recipe.query]
    splits = load_splits(part, options.data_root)
    preparation = prepare(part, splits)
    seen = seen_as(input_shape(preparation, splits.train), preparation)
    network = make_network(recipe, {recipe.query: seen}, splits.train.classes).eval().tower(recipe.query)

    def features(samples: Samples) -> Tensor:
        kept = keep(network, part, preparation, samples, training=False, tell=print)
        forms = [normalize(network._pooled(kept.values[:, k].float())) for k in range(kept.values.shape[1])]
        return normalize(torch.stack(forms).mean(0))

    with torch.inference_mode():
        train, test = features(splits.train), features(splits.test)
    scores = retrieval_scores(test, splits.test.labels)
    nearest = splits.train.labels[(test @ train.T).argmax(1)]
    accuracy = (nearest == splits.test.labels).float().mean().item()
    print(
        f"{len(train):,} training and {len(test):,} test samples: mAP {100 * scores.map:.2f}, accuracy of the nearest "
        f"{100 * accuracy:.2f}"
    )


if __name__ == "__main__":
    main()
