"""Jobs of a comparison, their folders, and the machine that they ran on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from batchot.device import Device
from batchot.errors import RunError
from batchot.files import write_text
from batchot.training.recipe import Recipe
from batchot.training.recipes import make_recipe, to_mapping
from batchot.workers.process import usable_cores

JOB, DIVERGED, FINISHED, MEASURED = "job.json", "diverged.txt", "finished", "measured.json"


@dataclass(frozen=True)
class Job:
    """What `batchot.benchmark.worker` does."""

    recipe: Recipe  # what is trained
    data_root: Path | None = None  # where the data lies
    device: Device = "auto"  # as `batchot train --device`
    threads: int = 1  # of the numerical libraries
    keep: bool = False  # leave checkpoints and TensorBoard files
    command: str = ""  # kept in config.yaml
    commit: str | None = None  # of the code that started the run


_TOLD = ("device", "threads", "keep", "command", "commit")


def write_job(folder: Path, job: Job) -> None:
    root = None if job.data_root is None else str(job.data_root.resolve())
    values = {"recipe": to_mapping(job.recipe), "data_root": root}
    values |= {name: getattr(job, name) for name in _TOLD}
    write_text(folder / JOB, json.dumps(values, indent=2) + "\n")


def read_job(folder: Path) -> Job:
    path = folder / JOB
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        recipe = make_recipe(values["recipe"], str(path))
        root = values["data_root"]
        return Job(recipe, None if root is None else Path(root), *(values[name] for name in _TOLD))
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(f"{path} is missing or damaged ({error}); remove {folder} and start again") from error


def key_of(recipe: Recipe) -> str:
    """Give a short name for all that determines a run, so that a run is found again by what it is."""
    values = to_mapping(recipe)
    for told in ("name", "about", "checkpoint_minutes"):  # change nothing
        values.pop(told)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


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
