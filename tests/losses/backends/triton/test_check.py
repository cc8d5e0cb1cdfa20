"""Kernels that are wrong or do not compile are not used."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from batchot.losses.backends.triton import solve as kernels
from gpu_support import TINY


@pytest.fixture(autouse=True)
def forget() -> None:
    kernels.kernels_agree.cache_clear()


@pytest.mark.parametrize("path", ["small", "persistent", "stored", "tiled"])
def test_sound_kernels_agree(path: Any, device: torch.device) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the GPU kernels")  # the interpreter has warnings of its own
        assert kernels.kernels_agree(device, path, TINY)


def test_wrong_kernels_are_told_and_not_used(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    solve = kernels.solve

    def off(*arguments: Any) -> Any:
        result = solve(*arguments)
        result.grad_x[3, 4] += 0.01 * result.grad_x.abs().max()
        return result

    monkeypatch.setattr(kernels, "solve", off)
    with pytest.warns(RuntimeWarning, match=r"small\) are not used on .*: their gradient is off by 1.0e-02"):
        assert not kernels.kernels_agree(device, "small", TINY)


def test_kernels_that_do_not_compile_are_told_and_not_used(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> Any:
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(kernels, "solve", fails)
    with pytest.warns(RuntimeWarning, match="RuntimeError: no kernel image is available"):
        assert not kernels.kernels_agree(device, "stored", TINY)
    with warnings.catch_warnings():  # and told once
        warnings.filterwarnings("error", message="the GPU kernels")
        assert not kernels.kernels_agree(device, "stored", TINY)
