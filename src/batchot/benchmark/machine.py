"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from batchot.workers.process import usable_cores


def describe_machine() -> dict[str, Any]:
    """Describe the processor, memory and GPU, and the versions of what computes."""
    import torch

    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": _memory(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


_PACKAGES = ("batchot", "torch", "lightning", "numpy", "pytorch-metric-learning", "optuna")


def commit() -> str | None:
    """Give the commit of this package's source with "+changes" where files differ; None where it is no checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):  # installed below somebody else's checkout
            return None
        return git("rev-parse", "--short=7", "HEAD") + (
            "+changes" if git("status", "--porcelain", "..") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
