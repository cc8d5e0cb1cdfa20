"""A network as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from batchot.export.errors import ExportError
from batchot.export.tower import ExportedTower
from batchot.shapes.extra import require

OPSET = 18
"""The first in which a scatter takes the maximum, by which clouds become views."""
EXTERNAL_ABOVE = 1 << 30
"""Bytes of weights above which they lie in a file of their own: an ONNX file cannot hold more than 2 GiB."""


def write_onnx(
    tower: ExportedTower, file: Path, *, metadata: Mapping[str, str], external_above: int = EXTERNAL_ABOVE
) -> tuple[Path, ...]:
    """Write a network and all that is done to its samples as an ONNX file, for batches of any size.

    Args:
        tower: in eval mode, on the CPU
        file: to write; its input is called as what the tower takes, its outputs "embedding" and "logits"
        metadata: written into it
        external_above: bytes of weights above which they are written into a file beside it

    Returns:
        The files.

    Raises:
        ExportError: the network has an operation that ONNX lacks
        MissingExtraError: onnx or onnxscript is not installed
    """
    require("onnx", "export")
    require("onnxscript", "export")
    # Two samples: a batch of one is taken for a constant.
    example = torch.from_numpy(np.stack([sample_of(tower, seed) for seed in range(2)]))
    outputs = ["embedding"] if tower.head is None else ["embedding", "logits"]
    with _quiet():
        try:
            program = torch.onnx.export(
                tower,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[tower.about.takes],
                output_names=outputs,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportError(
                f"the network {tower.about.network} of {tower.about.backbone} cannot be written as ONNX ({what}); "
                "leave ONNX out with --format safetensors"
            ) from error
        assert program is not None
        program.model.metadata_props.update(metadata)
        size = sum(value.numel() * value.element_size() for value in tower.state_dict().values())
        program.save(str(file), external_data=size > external_above)
    return tuple(sorted(file.parent.glob(f"{file.name}*")))


def largest_difference(tower: ExportedTower, file: Path, samples: int = 3) -> float:
    """Give the largest difference of an embedding by onnxruntime and by torch, on synthetic samples.

    Args:
        tower: that was written
        file: into which
        samples: how many; not the number with which it was written, so that a batch of another size is seen to work

    Raises:
        ExportError: onnxruntime does not take the file
        MissingExtraError: onnxruntime is not installed
    """
    runtime = require("onnxruntime", "export")
    batch = np.stack([sample_of(tower, 100 + seed) for seed in range(samples)])
    try:
        session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        found = np.asarray(session.run(["embedding"], {session.get_inputs()[0].name: batch})[0])
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise ExportError(f"onnxruntime does not take {file.name} ({str(error).splitlines()[0]})") from error
    with torch.inference_mode():
        wanted = tower(torch.from_numpy(batch))[0].numpy()
    return float(np.abs(found - wanted).max())


def sample_of(tower: ExportedTower, seed: int) -> NDArray:
    """Make a sample as a network takes it, the same for the same seed: a cloud on an ellipsoid, or blobs in pictures.

    Args:
        tower: the network
        seed: of the sample
    """
    generator = np.random.default_rng(seed)
    shape = tower.about.input_shape
    if tower.about.takes == "cloud":
        points = generator.normal(size=shape)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return (points * generator.uniform(0.2, 1.0, 3)).astype(np.float32)
    h, w = shape[-2:]
    y, x = np.mgrid[:h, :w] / max(h, w)
    where = generator.uniform(0.2, 0.8, (2, *shape[:-2], 1, 1))
    radius = generator.uniform(0.1, 0.5, (*shape[:-2], 1, 1))
    blobs = 255 * np.exp(-((x - where[0]) ** 2 + (y - where[1]) ** 2) / radius**2)
    return blobs.astype(np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says about itself off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
