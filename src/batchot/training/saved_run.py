"""What a run folder holds of its network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from batchot.errors import RunError
from batchot.training.checkpoint import check_weights, read_checkpoint
from batchot.training.files import RunFolder

_NETWORK = "network."


@dataclass(frozen=True)
class SavedRun:
    """A run folder with one of its checkpoints, read."""

    folder: RunFolder  # of the run
    file: Path  # the checkpoint
    content: dict[str, Any]  # of it

    def load_into(self, network: nn.Module) -> None:
        """Give a network the weights."""
        saved = self.content["state_dict"]
        weights = {k.removeprefix(_NETWORK): v for k, v in saved.items() if k.startswith(_NETWORK)}
        check_weights(weights, network.state_dict(), self.file)
        network.load_state_dict(weights)

    def metrics(self) -> dict[str, Any]:
        """Give the content of metrics.json, empty before the first evaluation."""
        file = self.folder.metrics
        return dict(json.loads(file.read_text())) if file.is_file() else {}


def trained_run(pretrained: str) -> Path | None:
    """Give the run folder that the weights of a backbone are to come from, if that is what is asked for."""
    folder = Path(pretrained)
    return folder if (folder / "config.yaml").is_file() else None


def read_saved(path: str | Path, checkpoint: Literal["last", "best"]) -> SavedRun:
    """Read a checkpoint of a run folder."""
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        raise RunError(f"{folder.root} is no run folder: it has no config.yaml")
    file = folder.last if checkpoint == "last" else folder.best
    return SavedRun(folder, file, read_checkpoint(file))
