"""Load what embeds: a run, or an exported network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batchot.search.encoder import EXPORTED, Encoder

if TYPE_CHECKING:
    from batchot.device import Device


def load_encoder(path: Path, device: Device = "auto") -> Encoder:
    """Load a trained network."""
    if (path / EXPORTED).is_file():
        from batchot.search.onnx_encoder import OnnxEncoder

        return OnnxEncoder.open(path)
    from batchot.search.run_encoder import RunEncoder

    return RunEncoder.open(path, device)
