"""Trained networks as ONNX and safetensors, and back."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from batchot.errors import ExportError, Tell, first_line, nobody, require
from batchot.models import MVCNN
from batchot.towers.embedder import Embedder
from batchot.towers.model_card import Described, described, model_card
from batchot.towers.saved import load_exported, load_run
from batchot.towers.spec import ABOUT_FORMAT, ARCHITECTURE, EXPORTED, WEIGHTS

__all__ = ["ExportError", "Exported", "export_run", "load_exported"]

OPSET = 18
"""The first in which a scatter takes the maximum, by which clouds become views."""
EXTERNAL_ABOVE = 1 << 30
"""Bytes of weights above which they lie in a file of their own: an ONNX file cannot hold more than 2 GiB."""


class OneTower(nn.Module):
    """A tower with the classifier, as a graph of tensor operations alone."""

    def __init__(self, embedder: Embedder, name: str) -> None:
        super().__init__()
        self.tower = embedder.tower(name)
        self.tower.spec = replace(self.tower.spec, channels_last=False)
        if isinstance(features := self.tower.embedder.backbone, MVCNN):
            features.views_at_once = None  # in a graph the number of shapes is not known
        whole = copy.copy(embedder)  # without the other towers, whose weights the file is not to hold
        whole._modules = {"towers": nn.ModuleDict({name: self.tower}), "head": embedder.head}
        self.whole, self.about = whole.eval(), self.tower.spec

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        """Give embeddings and, where there is a classifier, logits."""
        return tuple(value for value in self.whole.outputs(samples) if value is not None)


def write_onnx(
    tower: OneTower, file: Path, *, metadata: Mapping[str, str], external_above: int = EXTERNAL_ABOVE
) -> tuple[Path, ...]:
    """Write a network and all that is done to its samples as an ONNX file, for batches of any size."""
    require("onnx", "export")
    require("onnxscript", "export")
    # Two samples: a batch of one is taken for a constant.
    example = torch.from_numpy(np.stack([sample_of(tower, seed) for seed in range(2)]))
    outputs = ["embedding"] if tower.whole.head is None else ["embedding", "logits"]
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
            raise ExportError(
                f"the network {tower.about.network} of {tower.about.backbone} cannot be written as ONNX "
                f"({first_line(error)}); leave ONNX out with --format safetensors"
            ) from error
        assert program is not None
        program.model.metadata_props.update(metadata)
        size = sum(value.numel() * value.element_size() for value in tower.state_dict().values())
        program.save(str(file), external_data=size > external_above)
    return tuple(sorted(file.parent.glob(f"{file.name}*")))


def largest_difference(tower: OneTower, file: Path, samples: int = 3) -> float:
    """Give the largest difference of an embedding by onnxruntime and by torch, on synthetic samples."""
    runtime = require("onnxruntime", "export")
    batch = np.stack([sample_of(tower, 100 + seed) for seed in range(samples)])
    try:
        session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        found = np.asarray(session.run(["embedding"], {session.get_inputs()[0].name: batch})[0])
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise ExportError(f"onnxruntime does not take {file.name} ({first_line(error)})") from error
    with torch.inference_mode():
        wanted = tower(torch.from_numpy(batch))[0].numpy()
    return float(np.abs(found - wanted).max())


def sample_of(tower: OneTower, seed: int) -> NDArray:
    """Make a sample as a network takes it, from a seed: a cloud on an ellipsoid, or blobs in pictures."""
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


Format = Literal["onnx", "safetensors"]
TOLERANCE = 1e-4
"""Largest difference of a number of an embedding between ONNX and the run with which an export is kept."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path  # in which it lies
    files: dict[str, int]  # names and sizes in bytes
    # largest difference of an embedding by onnxruntime and by torch, for each tower
    differences: dict[str, float]


def export_run(
    run: Path,
    out: Path,
    *,
    formats: Sequence[Format] = ("onnx", "safetensors"),
    checkpoint: Literal["last", "best"] = "last",
    force: bool = False,
    tell: Tell = nobody,
) -> Exported:
    """Write a trained network as ONNX and safetensors with a model card, whole or not at all.

    The ONNX files have been run, and give the embeddings of the run, before `out` is there.

    Raises:
        ExportError: `out` is in use, the network cannot be written, or gives other embeddings
        RunError: there is no run, or it is damaged
        MissingExtraError: a package of the extra "export" is not installed
    """
    if not formats:
        raise ExportError("no format is left to export to; give onnx, safetensors or both")
    _check_free(out, force)
    embedder = load_run(run, checkpoint=checkpoint)
    network = described(embedder)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / "whole"
        folder.mkdir()
        differences: dict[str, float] = {}
        towers: dict[str, dict[str, Any]] = {}
        for name in network.spec.towers:
            tower = OneTower(embedder, name)
            about: dict[str, Any] = {
                "takes": tower.about.takes,
                "shape": list(tower.about.input_shape),
                "onnx": None,
            }
            if "onnx" in formats:
                tell(f"writing {name}.onnx")
                about |= _onnx(tower, name, folder, network)
                differences[name] = about["largest_difference"]
            towers[name] = about
        _write_json(folder / ARCHITECTURE, network.spec.to_json())
        if "safetensors" in formats:
            save = require("safetensors.torch", "export").save_file
            save(network.weights, folder / WEIGHTS, metadata=_metadata(network))
        about_all = _about(network, towers)
        _write_json(folder / EXPORTED, about_all)
        card = model_card(embedder, run, network, about_all, checkpoint)
        (folder / "README.md").write_text(card, encoding="utf-8")
        _put_in_place(folder, out)
    files = {file.name: file.stat().st_size for file in sorted(out.iterdir())}
    return Exported(out, files, differences)


def _check_free(out: Path, force: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / EXPORTED).is_file():  # nothing of anybody else is ever deleted
        raise ExportError(f"{out} is there already and is no export; give another --out")
    if not force:
        raise ExportError(f"{out} holds an export already; add --force to replace it, or give another --out")


def _onnx(tower: OneTower, name: str, folder: Path, network: Described) -> dict[str, Any]:
    file = folder / f"{name}.onnx"
    written = write_onnx(tower, file, metadata=_metadata(network) | {"batchot.takes": tower.about.takes})
    difference = largest_difference(tower, file)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{file.name}: onnxruntime gives embeddings that differ by {difference:.2g} from those of the run; "
            "export it with --format safetensors, and report this with the recipe"
        )
    return {
        "onnx": file.name,
        "sha256": {part.name: _sha256(part) for part in written},
        "largest_difference": difference,
    }


def _metadata(network: Described) -> dict[str, str]:
    return {
        "batchot.fingerprint": network.fingerprint,
        "batchot.classes": json.dumps(network.spec.classes, ensure_ascii=False),
        "batchot.inputs": json.dumps(network.spec.inputs),
        "batchot.version": version("batchot"),
    }


def _about(network: Described, towers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec = network.spec
    return {
        "format": ABOUT_FORMAT,
        "fingerprint": network.fingerprint,
        "dimensions": spec.dimensions,
        "normalized": spec.normalized,
        "classes": list(spec.classes),
        "inputs": spec.inputs,
        "shape": spec.gallery,
        "drawing": spec.drawing,
        "towers": towers,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("batchot", "torch")} | {"opset": OPSET},
    }


def _write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename the folder to what was asked for, and what was there before out of the way first."""
    if out.exists():
        old = folder.with_name("old")
        out.rename(old)
        try:
            folder.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old)
    else:
        folder.rename(out)
