"""Networks of an export, from its safetensors file, without what trained them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from batchot.export.architecture import Architecture
from batchot.export.errors import ExportError
from batchot.export.tower import ExportedTower
from batchot.shapes.extra import require

WEIGHTS, ARCHITECTURE = "model.safetensors", "architecture.json"


@dataclass(frozen=True, eq=False)
class ExportedNetwork:
    """Networks of an export, in eval mode.

    Args:
        architecture: what they are built of; ``classes`` and more
        towers: by name
    """

    architecture: Architecture
    towers: dict[str, ExportedTower]

    def embed(self, samples: Tensor, tower: str | None = None) -> Tensor:
        """Embed samples.

        Args:
            samples: uint8 views (b, v, c, h, w) or images (b, c, h, w), or float32 clouds (b, p, 3)
            tower: by which network; may be left out where there is only one

        Returns:
            Embeddings (b, d).

        Raises:
            ValueError: there is no such tower, or which one is not said
        """
        names = list(self.towers)
        if tower is None and len(names) == 1:
            tower = names[0]
        if tower not in self.towers:
            raise ValueError(f"there is no tower {tower!r}; there are {', '.join(names)}")
        with torch.inference_mode():
            embeddings: Tensor = self.towers[tower](samples)[0]
        return embeddings


def load_exported(path: str | Path) -> ExportedNetwork:
    """Load the networks of a folder of ``batchot export``, from model.safetensors and architecture.json.

    Args:
        path: the folder

    Returns:
        The networks, on the CPU.

    Raises:
        ExportError: it holds no such files, or they are damaged
        MissingExtraError: safetensors is not installed

    Example::

        network = load_exported("exported")
        embeddings = network.embed(views)  # (b, d)
    """
    folder = Path(path)
    file = folder / ARCHITECTURE
    if not file.is_file():
        raise ExportError(f"{folder} has no {ARCHITECTURE}; export the run with --format safetensors")
    try:
        architecture = Architecture.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ExportError(f"{file} cannot be read ({error}); export the run again") from error
    weights = _read(folder / WEIGHTS)
    try:
        return ExportedNetwork(architecture, build_towers(architecture, weights))
    except (RuntimeError, ValueError) as error:
        what = str(error).strip().splitlines()
        raise ExportError(
            f"{folder / WEIGHTS} does not fit {ARCHITECTURE} ({' '.join(what[:2])}); export the run again"
        ) from error


def build_towers(architecture: Architecture, weights: Mapping[str, Tensor]) -> dict[str, ExportedTower]:
    """Build networks and give them their weights.

    Args:
        architecture: of the networks
        weights: of all of them, by the names that they have in the run

    Raises:
        RuntimeError: the weights are those of other networks
        ValueError: a setting is out of range, or there is no such backbone
    """
    towers = {}
    for about in architecture.towers:
        tower = ExportedTower(architecture, about)
        own = (f"{about.prefix}embedder.", "head.")
        tower.load_state_dict(
            {
                name.removeprefix(about.prefix): value
                for name, value in weights.items()
                if name.startswith(own)
            }
        )
        towers[about.name] = tower
    return towers


def _read(file: Path) -> dict[str, Tensor]:
    safetensors = require("safetensors", "export")
    if not file.is_file():
        raise ExportError(f"{file.parent} has no {file.name}; export the run with --format safetensors")
    try:
        weights: dict[str, Tensor] = require("safetensors.torch", "export").load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise ExportError(f"{file} cannot be read ({error}); export the run again") from error
    return weights
