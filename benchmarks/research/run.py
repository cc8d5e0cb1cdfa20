"""Train a recipe with a loss that was tried and print its mAP after each epoch, see docs/research.md.

python benchmarks/research/run.py cifar10 cost=linear --settings epochs=2 data.validation=0.1 --data-root D
python benchmarks/research/run.py modelnet40-points --loss supcon --settings epochs=2 data.validation=0.15
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from plans import PlanOptions
from questions import unseen_classes, views_as_points

from batchot.training import data, run
from batchot.training import learner as module
from batchot.training.recipes import load_recipe
from losses import LossOptions, TriedLoss


def options_of(given: list[str]) -> tuple[LossOptions, PlanOptions]:
    """Read NAME=VALUE; each is an option of the loss or of its plan."""
    values = {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in given)}

    def of(kind: type[Any]) -> Any:
        return kind(**{f.name: values.pop(f.name) for f in dataclasses.fields(kind) if f.name in values})

    both = of(LossOptions), of(PlanOptions)
    if values:
        raise SystemExit(f"no such option: {', '.join(values)}")
    return both


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("options", nargs="*", help="of losses.py and plans.py")
    parser.add_argument("--settings", nargs="*", default=[], help="of the recipe")
    parser.add_argument("--loss", help="one of the package instead, such as supcon or uniform")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument(
        "--unseen", action="store_true", help="train on every other class, test on those between"
    )
    parser.add_argument(
        "--views", choices=["points", "both"], help="views as points of the problem, alone or too"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    overrides = [
        ("loss", arguments.loss or "batch-ot"),
        ("loss.cross_entropy_weight", "0"),
        ("loss.anchors", "0"),
    ]
    overrides += [(name, value) for name, _, value in (text.partition("=") for text in arguments.settings)]
    if not arguments.loss:
        loss, plan = options_of(arguments.options)
        module.make_loss = lambda settings, n_classes, width: TriedLoss(loss, plan, n_classes, width)
        module.normalizes = lambda loss: True
    if arguments.unseen:
        data.load_splits = unseen_classes(data.load_splits)
    if arguments.views:
        views_as_points(pooled_too=arguments.views == "both")
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe(arguments.recipe, overrides)
        result = run.train(
            recipe, Path(folder) / "run", data_root=arguments.data_root, messages=run.Messages()
        )
    print("mAP", " ".join(f"{100 * row.map:.2f}" for row in result.rows if row.map is not None), flush=True)


if __name__ == "__main__":
    main()
