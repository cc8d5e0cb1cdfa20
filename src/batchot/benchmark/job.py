"""Jobs of a comparison and their folders."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchot.device import Device
from batchot.errors import RunError
from batchot.files import write_text
from batchot.training.recipe import Recipe
from batchot.training.recipes import make_recipe, to_mapping

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


def write_job(folder: Path, job: Job) -> None:
    """Write job.json."""
    values: dict[str, Any] = {
        "recipe": to_mapping(job.recipe),
        "data_root": None if job.data_root is None else str(job.data_root.resolve()),
        "device": job.device,
        "threads": job.threads,
        "keep": job.keep,
        "command": job.command,
        "commit": job.commit,
    }
    write_text(folder / JOB, json.dumps(values, indent=2) + "\n")


def read_job(folder: Path) -> Job:
    """Read job.json."""
    path = folder / JOB
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        recipe = make_recipe(values["recipe"], str(path))
        root = values["data_root"]
        return Job(
            recipe,
            None if root is None else Path(root),
            values["device"],
            values["threads"],
            values["keep"],
            values["command"],
            values["commit"],
        )
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(f"{path} is missing or damaged ({error}); remove {folder} and start again") from error


def key_of(recipe: Recipe) -> str:
    """Give a short name for all that determines a run, so that a run is found again by what it is."""
    values = to_mapping(recipe)
    for told in ("name", "about", "checkpoint_minutes"):  # change nothing
        values.pop(told)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
