"""Which device to run on, and memory kept for large blocks on CPUs."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Literal

import torch

from batchot.errors import RunError

Device = Literal["auto", "cpu", "cuda"]


def accelerator_of(device: Device) -> str:
    """Give "cuda" or "cpu" for what the user asked for."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: this PyTorch sees no GPU; use --device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def has_bfloat16(accelerator: str) -> bool:
    """Whether the device computes in bfloat16; a processor that does not takes ten times as long as in float32."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    ask = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # not in every build of PyTorch
    return bool(ask is not None and ask())


# of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


@cache
def reuse_large_blocks() -> bool:
    """Let glibc keep freed blocks of any size for the next tensor, for the rest of the process."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # threads have heaps of at most 64 MB of their own unless all share one
    return all(
        mallopt(option, value) == 1
        for option, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_ARENA_MAX, 1))
    )
