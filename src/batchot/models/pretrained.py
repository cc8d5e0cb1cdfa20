"""Weights from files, packages and the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from batchot.errors import first_line, require


class BackboneError(ValueError):
    """A backbone cannot be had; the message says which, what was looked for and where, and what to do."""


def load_weights(network: nn.Module, path: Path, *, leave_out: tuple[str, ...] = ()) -> None:
    """Copy the weights of a ``.safetensors`` file into a network."""
    if not path.is_file():
        raise BackboneError(f"{path}: no such file; expected a .safetensors file with the weights")
    if path.suffix != ".safetensors":
        raise BackboneError(
            f"{path}: only .safetensors files are read; convert it where you trust it with "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'weights.safetensors')"
        )
    safetensors_torch = require("safetensors.torch")
    safetensors = require("safetensors")
    try:
        saved = safetensors_torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise BackboneError(f"{path}: cannot be read as safetensors ({error}); get the file again") from error
    saved = {name: value for name, value in saved.items() if not name.startswith(leave_out)}
    wanted = network.state_dict()
    faults = [f"no {name}" for name in wanted if name not in saved]
    faults += [f"{name} has no place" for name in saved if name not in wanted]
    faults += [
        f"{name} is {tuple(saved[name].shape)} and not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in saved and saved[name].shape != value.shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise BackboneError(
            f"{path}: weights of another network than {type(network).__name__} as set up here: "
            f"{'; '.join(faults[:3])}{more}"
        )
    network.load_state_dict(saved)


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_Loaded = TypeVar("_Loaded")


def load_settings(source: str, image_size: int) -> Any:
    transformers = require("transformers")
    if source in require("transformers.models.auto").CONFIG_MAPPING:
        settings = transformers.AutoConfig.for_model(source)
        if hasattr(settings, "image_size"):
            settings.image_size = image_size
        return settings
    return _load(
        source,
        lambda local: transformers.AutoConfig.from_pretrained(
            source, local_files_only=local, trust_remote_code=False
        ),
    )


def load_model(source: str) -> nn.Module:
    """A network with its trained weights, read from safetensors files only, in float32."""
    transformers = require("transformers")
    if source in require("transformers.models.auto").CONFIG_MAPPING:
        raise BackboneError(
            f"{source}: is an architecture and has no weights of its own; name a trained network or its folder"
        )
    model, report = _load(
        source,
        lambda local: transformers.AutoModel.from_pretrained(
            source,
            local_files_only=local,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        ),
    )
    # transformers fills gaps with new weights and goes on. A pooler with weights is not used here.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise BackboneError(
            f"{source}: the weights are not those of {type(model).__name__}: {len(missing)} are missing, "
            f"first {missing[0]}"
        )
    network: nn.Module = model.float()
    return network


def load_image_statistics(source: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of images in [0, 1] that a trained network expects, by channel."""
    cached_file = require("transformers.utils").cached_file
    path = _load(
        source,
        lambda local: cached_file(
            source,
            "preprocessor_config.json",
            local_files_only=local,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        ),
    )
    without = _IMAGENET if channels == 3 else ((0.0,), (1.0,))
    if path is None:
        return without
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
        if not settings.get("do_normalize", True):
            return (0.0,), (1.0,)
        mean = tuple(float(value) for value in settings.get("image_mean", without[0]))
        std = tuple(float(value) for value in settings.get("image_std", without[1]))
    except (ValueError, TypeError, AttributeError) as error:
        raise BackboneError(f"{path}: image_mean and image_std cannot be read ({error})") from error
    return mean, std


def _load(source: str, load: Callable[[bool], _Loaded]) -> _Loaded:
    """What ``load(local_files_only)`` gives: from the folder or the cache, and only then over the network."""
    folder = Path(source)
    failures = (OSError, ValueError, RuntimeError, require("safetensors").SafetensorError)
    if folder.is_dir() or source.startswith((".", "/", "~")):
        if not (folder / "config.json").is_file():
            raise BackboneError(
                f"{source}: no folder with a config.json; expected what transformers' save_pretrained writes "
                "(config.json, model.safetensors)"
            )
        try:
            return load(True)
        except failures as error:
            raise BackboneError(f"{source}: cannot be loaded ({first_line(error)})") from error
    if "/" not in source:  # on Hugging Face an image network is OWNER/NAME: no need to wait for its answer
        raise BackboneError(
            f"{source}: no such network; expected resnet18-w16 (depth 10, 18 or 34, any width, -s2 for a stem of "
            "stride 2), alexnet, OWNER/NAME on Hugging Face, timm/NAME, a folder, or an architecture of "
            "transformers such as convnext"
        )
    try:
        try:
            return load(True)
        except OSError:
            return load(False)
    except failures as error:
        cache = require("huggingface_hub").constants.HF_HUB_CACHE
        raise BackboneError(
            f"{source}: no folder, not whole in the Hugging Face cache {cache}, and not to be "
            f"downloaded ({first_line(error)}). Without a network give the path of a folder with its config.json "
            "and model.safetensors, or set HF_HOME to a cache that has them"
        ) from error
