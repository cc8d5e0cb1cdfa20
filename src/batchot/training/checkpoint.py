"""Checkpoints, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from batchot.files import write_atomically
from batchot.towers.saved import with_present_names


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, flushed to the disk before they take the place of the previous ones."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; a full disk leaves the previous one good."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(self, *where: Any, **how: Any) -> dict[str, Any]:
        """Read a checkpoint of this version or of an older one."""
        return with_present_names(super().load_checkpoint(*where, **how))
