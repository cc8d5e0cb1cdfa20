"""Which processes a training has, and their start by torchrun's agent."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchot.errors import Tell
from batchot.training.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

INTERRUPTED = 130
# seconds that ranks have to write their checkpoint; where PyTorch is older than 2.10, it gives 30
_UNTIL_ENDED = 3600


def launch(processes: Processes, command: Sequence[str], tell: Tell) -> int:
    """Run a command once for each rank of this machine, under the agent of torchrun, until all have ended."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    place: dict[str, Any] = {
        "rdzv_backend": "c10d",
        "rdzv_endpoint": "localhost:0",
        "local_addr": "127.0.0.1",
    }
    if processes.nodes > 1:
        endpoint = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        here = {"rank": node_rank(processes, os.environ)}
        place = {"rdzv_backend": "static", "rdzv_endpoint": endpoint, "rdzv_configs": here}
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_UNTIL_ENDED))
    config = LaunchConfig(
        min_nodes=processes.nodes,
        max_nodes=processes.nodes,
        nproc_per_node=processes.devices,
        run_id="batchot",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        **place,
    )
    handlers = {
        s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    }
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)  # of the agent: what there is to say is said here
    try:
        elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        return _failed(error, tell)
    except (SignalException, KeyboardInterrupt) as error:
        if isinstance(error.__context__, SignalException):  # while it waited for the ranks to stop
            tell("stopped at once; --resume goes on from the last checkpoint")
        return INTERRUPTED
    except (RuntimeError, ValueError, OSError) as error:
        tell(no_meeting(str(error), processes, os.environ))
        return 1
    finally:
        logging.disable(disabled)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0


def when_parent_ends(do: Callable[[], object]) -> None:
    """Do something as soon as the process that started this one is gone, in a thread of its own."""

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        do()

    threading.Thread(target=watch, args=(os.getppid(),), name="parent watch", daemon=True).start()


def _failed(error: ChildFailedError, tell: Tell) -> int:
    """Say which rank was killed, if one was, and give the status of the first one that failed."""
    first, failure = error.get_first_failure()
    for rank, other in sorted(error.failures.items()):
        if rank == first and other.exitcode < 0:
            hint = ", as by the system when memory runs out" if other.exitcode == -signal.SIGKILL else ""
            name = f"{-other.exitcode} ({other.signal_name()}{hint})"
            tell(f"rank {rank} was killed by signal {name}; the others are stopped too")
        elif other.exitcode == -signal.SIGKILL:
            tell(f"rank {rank} did not stop by itself and was ended")
    statuses = [other.exitcode for other in error.failures.values()]
    return INTERRUPTED if INTERRUPTED in statuses else max(1, failure.exitcode)


def no_meeting(text: str, processes: Processes, environment: Mapping[str, str]) -> str:
    host, port = environment.get("MASTER_ADDR", "127.0.0.1"), environment.get("MASTER_PORT", "29500")
    if "EADDRINUSE" in text or "address already in use" in text.lower():
        return (
            f"MASTER_PORT={port}: another program listens on this port of {host}; give another MASTER_PORT "
            "(torchrun: --master-port), or try again"
        )
    first_line = text.strip().splitlines()[0] if text.strip() else "no answer"
    return (
        f"the {processes.count} ranks did not meet at {host}:{port} ({first_line}). Are all of them started, and can "
        "every machine reach that address?"
    )


_STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # what torchrun tells each process that it starts


class ProcessesError(ValueError):
    """Options and environment do not say which processes there are; the message says what to change."""


@dataclass(frozen=True)
class Processes:
    """The processes of a training, the ranks 0 .. N - 1."""

    devices: int = 1  # processes on this machine, each with a GPU or some cores of its own
    nodes: int = 1  # machines
    rank: int | None = None  # of this process; None where they are still to be started
    local_rank: int = 0  # its number among those of this machine

    @property
    def count(self) -> int:
        """Number of ranks, N."""
        return self.devices * self.nodes

    @property
    def to_start(self) -> bool:
        return self.count > 1 and self.rank is None


def processes_of(devices: int | None, nodes: int | None, environment: Mapping[str, str]) -> Processes:
    for option, value in (("--devices", devices), ("--num-nodes", nodes)):
        if value is not None and value < 1:
            raise ProcessesError(f"{option} {value}: it must be 1 or more")
    if all(name in environment for name in _STARTED):
        return _started(devices, nodes, environment)
    wanted = Processes(devices or 1, nodes or 1)
    if wanted.nodes > 1:
        node_rank(wanted, environment)
    return wanted


def _started(devices: int | None, nodes: int | None, environment: Mapping[str, str]) -> Processes:
    count = _number("WORLD_SIZE", environment, 1)
    here = (
        _number("LOCAL_WORLD_SIZE", environment, 1) if "LOCAL_WORLD_SIZE" in environment else devices or count
    )
    if devices not in (None, here):
        raise ProcessesError(
            f"--devices {devices}, but {here} processes were started on this machine (LOCAL_WORLD_SIZE={here}); "
            "leave --devices out under torchrun"
        )
    if count % here or nodes not in (None, count // here):
        shown = f"--num-nodes {nodes}" if nodes is not None else "every machine must have as many processes"
        raise ProcessesError(
            f"{shown}, but {count} processes were started in all (WORLD_SIZE={count}) and {here} on this machine; "
            "leave --num-nodes out under torchrun, and give --nproc-per-node the same value everywhere"
        )
    if count == 1:
        return Processes()
    rank = _number("RANK", environment, 0)
    if rank >= count:
        raise ProcessesError(f"RANK={rank}, but there are {count} processes (WORLD_SIZE={count})")
    return Processes(here, count // here, rank, _number("LOCAL_RANK", environment, 0))


def node_rank(processes: Processes, environment: Mapping[str, str]) -> int:
    """Give the number of this machine among several."""
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if not environment.get(name)]
    if missing:
        raise ProcessesError(
            f"--num-nodes {processes.nodes}: set {', '.join(missing)} on each machine: the address of the first one, "
            f"a free port there, and this machine's number, 0 to {processes.nodes - 1}; or start with torchrun"
        )
    _number("MASTER_PORT", environment, 1)
    number = _number("NODE_RANK", environment, 0)
    if number >= processes.nodes:
        raise ProcessesError(
            f"NODE_RANK={number}: it must be 0 to {processes.nodes - 1} with --num-nodes {processes.nodes}"
        )
    return number


def _number(name: str, environment: Mapping[str, str], least: int) -> int:
    text = environment[name]
    if not text.isdecimal() or int(text) < least:
        raise ProcessesError(f"{name}={text!r} in the environment: it must be a whole number from {least}")
    return int(text)


def check_parts(recipe: Recipe, processes: int) -> None:
    """Check that every rank gets a part of every batch."""
    halves = not recipe.several and recipe.loss.against == "halves"
    for name, tower in recipe.towers.items():
        size, setting = tower.batch.size, f"{name}.batch.size" if recipe.several else "batch.size"
        if (size // 2 if halves else size) < processes:
            what = "each half of a batch (loss.against=halves)" if halves else "a batch"
            raise RecipeError(
                f"{setting}: {size} samples cannot be spread over {processes} processes, as each needs one of "
                f"{what}; set it to {processes * (2 if halves else 1)} or more, or use fewer --devices"
            )
