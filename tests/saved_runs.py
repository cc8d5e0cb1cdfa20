"""Runs of networks that were never trained, for tests of what is done with the networks of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.files import RunFolder
from batchot.towers.embedder import Embedder
from batchot.towers.spec import Samples
from batchot.training.network import make_network
from batchot.training.recipe import Recipe
from batchot.training.recipes import to_mapping

CLASSES = ["bottle", "lamp “Ω”", "stairs"]
PIXELS = {"mean": (0.4, 0.3), "std": (0.2, 0.25)}


def save_run(out: Path, recipe: Recipe, *shapes: tuple[int, ...], normalized: bool = True) -> Path:
    """Save a run; `shapes` are those of a sample as the network of each tower gets it."""
    return _save(out, recipe, dict(zip(recipe.towers, shapes, strict=True)), normalized)


def make_untrained(recipe: Recipe, shapes: dict[str, tuple[int, ...]]) -> Embedder:
    """Make the networks of a recipe with random weights, for samples of these shapes."""
    return make_network(recipe, {name: _seen(shape) for name, shape in shapes.items()}, tuple(CLASSES))


def _seen(shape: tuple[int, ...]) -> Samples:
    channels = 0 if len(shape) == 2 else shape[-3]
    return Samples(shape, PIXELS["mean"][:channels], PIXELS["std"][:channels])


def _save(
    out: Path,
    recipe: Recipe,
    shapes: dict[str, tuple[int, ...]],
    normalized: bool,
) -> Path:
    torch.manual_seed(1)
    network = make_untrained(recipe, shapes)
    network.spec = replace(network.spec, normalized=normalized)
    for module in network.modules():
        if isinstance(module, _BatchNorm):  # as if it had seen something; some scales are negative
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, -0.5, 1.5)
        elif isinstance(module, nn.Conv2d | nn.Linear):  # PyTorch's own let all samples look alike
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    folder = RunFolder(out)
    folder.checkpoints.mkdir(parents=True)
    folder.config.write_text(yaml.safe_dump(to_mapping(recipe), sort_keys=False))
    folder.history.write_text("epoch,map,nn\n1,0.5,0.75\n2,0.4,0.7\n")
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    content = {"state_dict": weights, "spec": network.spec.to_json()}
    for file in (folder.last, folder.best):
        torch.save(content | {"optimizer_states": [{"a": torch.zeros(1000)}]}, file)
    return out
