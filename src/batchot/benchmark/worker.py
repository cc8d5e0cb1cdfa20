"""One run of a comparison in a process of its own: ``python -m batchot.benchmark.worker FOLDER``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

from batchot.benchmark.job import DIVERGED, FINISHED, MEASURED, read_job
from batchot.errors import RunInterrupted
from batchot.training.launch import when_parent_ends

INTERRUPTED_STATUS, DIVERGED_STATUS = 130, 3
TOLD = "error: "  # before a message, which may have several lines, in the log


def main(folder: Path) -> int:
    """Train by the job in a folder, going on where an earlier process was stopped."""
    job = read_job(folder)
    # or two would write into one folder
    when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    import torch

    torch.set_num_threads(job.threads)
    from batchot.errors import DataError, Diverged, RunError
    from batchot.files import RunFolder, write_text
    from batchot.training.recipe import RecipeError
    from batchot.training.run import Messages, train

    messages = Messages(
        note=lambda text: print(text, flush=True),
        epoch=lambda row: print(f"epoch {row.epoch}: loss {row.loss:.4f}, mAP {row.map}", flush=True),
    )
    try:
        train(
            job.recipe,
            folder,
            data_root=job.data_root,
            device=job.device,
            resume=RunFolder(folder).holds_run(),
            command=job.command,
            messages=messages,
        )
    except RunInterrupted:
        return INTERRUPTED_STATUS
    except Diverged as error:
        _write_measured(folder)
        write_text(folder / DIVERGED, f"{error}\n")
        return DIVERGED_STATUS
    except (DataError, RunError, RecipeError, ImportError) as error:
        print(f"{TOLD}{error}", file=sys.stderr, flush=True)
        return 1
    _write_measured(folder)
    (folder / FINISHED).touch()
    if not job.keep:
        for name in ("checkpoints", "tensorboard"):
            shutil.rmtree(folder / name, ignore_errors=True)
    return 0


def _write_measured(folder: Path) -> None:
    """Write when and where: a comparison may go on another day, on another machine."""
    from batchot.benchmark.job import describe_machine
    from batchot.files import write_json

    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / MEASURED, {"finished": now, "machine": describe_machine()})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(Path(sys.argv[1])))
