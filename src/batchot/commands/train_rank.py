"""``batchot train`` as one of several ranks: the first one speaks, and all end together."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from batchot.commands.common import FAILURE, INTERRUPTED, fail, guarded
from batchot.training.launch import Processes

R = TypeVar("R")


def run_rank(
    processes: Processes, device: str, train: Callable[[], R], finish: Callable[[R], None], resume: str
) -> int:
    """Train as a rank, with the others that were started."""
    # before torch: it would warn that it looks in vain for parameters without a gradient
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from batchot.device import accelerator_of
    from batchot.training.distributed import ToldByAnother, end_with_launcher, joined

    end_with_launcher()
    first = processes.rank == 0
    if not first:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, until the process ends
        warnings.simplefilter("ignore")

    def work() -> int:
        try:
            with joined(processes, accelerator_of(device)):  # type: ignore[arg-type]
                run = train()
        except ToldByAnother as told:
            return told.status
        if first:
            finish(run)
        return 0

    status = guarded(work, resume) if first else _without_a_word(work, processes)
    if status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # whatever threads of the communication still wait for
    return 0


def _without_a_word(work: Callable[[], int], processes: Processes) -> int:
    """Say only what the first rank cannot know."""
    from batchot.errors import DataError, RunError, RunInterrupted, ShapeError

    try:
        return work()
    except (RunInterrupted, KeyboardInterrupt):
        return INTERRUPTED
    except (DataError, RunError, ShapeError, ImportError, OSError) as error:
        return fail(f"rank {processes.rank}: {error}", FAILURE)
