"""Trained networks on disk (runs, exports, the model of an index), and the test items that a run leaves."""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Literal

import numpy as np
import torch
from torch import Tensor

from batchot.errors import ExportError, RunError, extras_named, first_line, require
from batchot.files import DAMAGED_ARCHIVE, RunFolder, write_atomically, write_bytes
from batchot.models import BackboneError
from batchot.towers.embedder import Embedder
from batchot.towers.spec import (
    ARCHITECTURE,
    EXPORTED,
    ONLY,
    WEIGHTS,
    EmbedderSpec,
    Samples,
    describe,
    full_names,
)

_NETWORK = "network."
_OBJECTIVE = re.compile(r"^objective\.loss\.")  # of two networks, before they were towers
_NEEDED = ("state_dict", "spec", "classes", "input_shape", "mean", "std", "normalized", "towers")


def load_run(
    path: str | Path, device: str | torch.device = "cpu", *, checkpoint: Literal["last", "best"] = "last"
) -> Embedder:
    """Load a trained network.

    Args:
        path: run folder of ``batchot train``, folder of ``batchot export``, or the folder ``model`` of an index
        device: where to put it
        checkpoint: of a run, "last", whose measures are in metrics.json, or "best", the epoch of the highest test mAP

    Returns:
        A module from images (n, c, h, w) or views (n, v, c, h, w), uint8 or floats in 0 .. 1, or from clouds
        (n, p, 3), whichever it was trained on, to embeddings (n, d); that of several towers takes the name of the
        tower as well. Attributes: ``classes``, ``metrics``, ``embedding_dim`` and ``recipe``.

    Raises:
        RunError: there is no run, or its checkpoint is damaged or of another network
        ExportError: the export is damaged, or has no safetensors

    Example::

        embedder = batchot.load_run("runs/mnist")
        with torch.no_grad():
            embeddings = embedder(images)  # (n, 256)
        towers = batchot.load_run("runs/sketches")
        sketches, shapes = towers(images, "sketch"), towers(views, "shape")
    """
    if (Path(path) / EXPORTED).is_file():
        return load_exported(path).to(device)
    run = read_saved(path, checkpoint)
    try:
        embedder = Embedder(run.spec)
    except BackboneError as error:
        raise RunError(f"model.backbone: {error}") from error
    weights = {k.removeprefix(_NETWORK): v for k, v in run.weights.items() if k.startswith(_NETWORK)}
    check_weights(weights, embedder.state_dict(), run.file)
    embedder.load_state_dict(weights)
    settings = json.dumps(run.settings(), default=str)
    embedder.metrics = run.metrics()
    embedder.recipe = json.loads(settings, object_hook=lambda values: SimpleNamespace(**values))
    return embedder.eval().to(device)


def load_exported(path: str | Path) -> Embedder:
    """Load the networks of a folder of ``batchot export``, from model.safetensors and architecture.json.

    Args:
        path: the folder

    Returns:
        The networks, on the CPU, see `load_run`.

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
        spec = EmbedderSpec.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ExportError(f"{file} cannot be read ({error}); export the run again") from error
    weights = _read_safetensors(folder / WEIGHTS)
    try:
        embedder = Embedder(spec)
        embedder.load_state_dict(full_names(weights))
    except (RuntimeError, ValueError) as error:
        what = str(error).strip().splitlines()
        raise ExportError(
            f"{folder / WEIGHTS} does not fit {ARCHITECTURE} ({' '.join(what[:2])}); export the run again"
        ) from error
    return embedder.eval()


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    safetensors = require("safetensors", "export")
    if not file.is_file():
        raise ExportError(f"{file.parent} has no {file.name}; export the run with --format safetensors")
    try:
        weights: dict[str, Tensor] = require("safetensors.torch", "export").load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise ExportError(f"{file} cannot be read ({error}); export the run again") from error
    return weights


@dataclass(frozen=True)
class SavedRun:
    """A run folder with one of its checkpoints, read."""

    folder: RunFolder  # of the run
    file: Path  # the checkpoint
    content: dict[str, Any]  # of it

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the network, whose names begin with "network.", and of the loss."""
        return dict(self.content["state_dict"])

    @property
    def spec(self) -> EmbedderSpec:
        """What the network is; of a run that was made before it was stored, by its settings."""
        try:
            if "spec" in self.content:
                return EmbedderSpec.from_json(self.content["spec"])
            return _old_spec(self.settings(), self.content)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.file} is not a checkpoint of batchot: it has no {error}") from error

    def settings(self) -> dict[str, Any]:
        return settings_of(self.folder.root)

    def metrics(self) -> dict[str, Any]:
        """Give the content of metrics.json, empty before the first evaluation."""
        file = self.folder.metrics
        return dict(json.loads(file.read_text())) if file.is_file() else {}


def _old_spec(settings: Mapping[str, Any], content: Mapping[str, Any]) -> EmbedderSpec:
    towers = content.get("towers", {ONLY: content})
    samples = {
        name: Samples(tuple(of["input_shape"]), tuple(of["mean"]), tuple(of["std"]))
        for name, of in towers.items()
    }
    return describe(settings, tuple(content["classes"]), bool(content["normalized"]), samples)


def settings_of(run: Path) -> dict[str, Any]:
    with extras_named():
        import yaml
    folder = RunFolder(run)
    folder.check()
    try:
        return dict(yaml.safe_load(folder.config.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{folder.config} cannot be read: {error}") from error


def trained_run(pretrained: str) -> Path | None:
    """Give the run folder that the weights of a backbone are to come from, if that is what is asked for."""
    folder = Path(pretrained)
    return folder if (folder / "config.yaml").is_file() else None


def read_saved(path: str | Path, checkpoint: Literal["last", "best"]) -> SavedRun:
    folder = RunFolder(Path(path))
    folder.check()
    file = folder.last if checkpoint == "last" else folder.best
    return SavedRun(folder, file, read_checkpoint(file))


def save_slim(run: Path, to: Path) -> None:
    """Copy settings, measures and weights of a run, so that the copy loads like the run."""
    saved, target = read_saved(run, "last"), RunFolder(to)
    kept = {name: saved.content[name] for name in _NEEDED if name in saved.content}
    kept["state_dict"] = {k: v for k, v in saved.weights.items() if k.startswith(_NETWORK)}
    file = io.BytesIO()
    torch.save(kept, file)
    write_bytes(target.last, file.getvalue())
    if saved.folder.metrics.is_file():
        write_bytes(target.metrics, saved.folder.metrics.read_bytes())
    write_bytes(target.config, saved.folder.config.read_bytes())  # last: with it the folder is a run


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run, onto the CPU."""
    advice = "Delete it to start again"
    best = path.with_name("best.ckpt")
    if best.is_file() and best != path:
        advice = f"Copy {best} over it to go on from there, or delete it to start again"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"no checkpoint {path}") from error
    except Exception as error:  # torch.load raises half a dozen unrelated types on damaged files
        what = first_line(error)
        # torch's text here invites to run whatever is in the file
        if isinstance(error, pickle.UnpicklingError):
            what = "it holds something else than tensors and plain values"
        raise RunError(
            f"{path} ({path.stat().st_size:,} bytes) is damaged or no checkpoint: {what}. {advice}."
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise RunError(f"{path} holds no training state (no 'state_dict' in it). {advice}.")
    return with_present_names(content)


def with_present_names(content: dict[str, Any]) -> dict[str, Any]:
    """Give a checkpoint with the names that weights have today, whichever version wrote it."""
    named = {}
    for key in ("state_dict", "current_model_state"):  # the second where the first is an average
        if key in content:
            weights = full_names(content[key], _NETWORK)
            named[key] = {_OBJECTIVE.sub("objective.metric.loss.", name): v for name, v in weights.items()}
    return content | named


def check_weights(saved: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Check that saved weights are those of a network, before they are loaded."""
    for name, value in wanted.items():
        if name not in saved:
            raise RunError(f"{path} is of another network: {name} {tuple(value.shape)} is not in it")
        if saved[name].shape != value.shape:
            raise RunError(
                f"{path} is of another network: {name} is {tuple(saved[name].shape)} there and "
                f"{tuple(value.shape)} here"
            )
    for name, value in saved.items():
        if name not in wanted:
            raise RunError(
                f"{path} is of another network: it has {name} {tuple(value.shape)}, this one has not"
            )


_FORMAT = 1


def write_archive(path: Path, arrays: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a description of them into one npz file."""
    content = json.dumps({**about, "format": _FORMAT}, ensure_ascii=False)
    text = np.frombuffer(content.encode(), dtype=np.uint8)

    def write(file: IO[bytes]) -> None:
        kept: dict[str, Any] = {name: _array(value) for name, value in arrays.items()}
        np.savez_compressed(file, about=text, **kept)

    write_atomically(path, write)


@contextmanager
def read_archive(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Read what `write_archive` has written; what goes wrong while it is used is told as damage of the file."""
    root = path.parent
    if not path.is_file():
        what = f"{root} has no {path.name}" if root.is_dir() else f"there is no folder {root}"
        raise RunError(f"{what}: a report is made from the test items that a finished run leaves there")
    try:
        with np.load(path, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(file["about"].tobytes().decode())
            arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != "about"}
        if about["format"] != _FORMAT:
            raise RunError(
                f"{path} is of format {about['format']}, this version of batchot reads {_FORMAT}; "
                "use the version that trained the run"
            )
        yield about, arrays
    except (*DAMAGED_ARCHIVE, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); evaluate or train the run again") from error


def _array(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).numpy()  # numpy has no bfloat16
