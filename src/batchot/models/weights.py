"""Weights of a backbone from a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from batchot.shapes.extra import require


class BackboneError(ValueError):
    """A backbone cannot be had; the message says which, what was looked for and where, and what to do.

    Example:
        >>> from batchot.models import BackboneError
        >>> issubclass(BackboneError, ValueError)
        True
    """


def load_weights(network: nn.Module, path: Path, *, leave_out: tuple[str, ...] = ()) -> None:
    """Copy the weights of a ``.safetensors`` file into a network.

    No other format is read: PyTorch's own is a pickle, which can run code of whoever wrote it.

    Args:
        network: takes the weights; left as it was where they do not fit.
        path: the file.
        leave_out: beginnings of names in the file for which the network has no place.

    Raises:
        BackboneError: no such file, another format, or weights of another network.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> from torch import nn
        >>> from batchot.models.weights import load_weights
        >>> trained, network = nn.Linear(2, 3), nn.Linear(2, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file(trained.state_dict(), f"{folder}/weights.safetensors")
        ...     load_weights(network, Path(folder, "weights.safetensors"))
        >>> bool((network.weight == trained.weight).all())
        True
    """
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
