"""Start the processes of a training on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from batchot.training.recipe import Recipe, RecipeError

_GRACE = 20.0  # seconds that the others have to say why they stop, once a rank has ended in failure
_WATCH = 0.1  # seconds between two looks
INTERRUPTED = 130


def launch(processes: Processes, command: Sequence[str], tell: Callable[[str], None]) -> int:
    """Run a command once for each rank of this machine, until all have ended."""
    first = node_rank(processes, os.environ) * processes.devices if processes.nodes > 1 else 0
    shared = _environment(processes, os.environ)
    children: list[subprocess.Popen[bytes]] = []
    try:
        with _handed_on(children):
            for local in range(processes.devices):
                ranks = {
                    "RANK": str(first + local),
                    "LOCAL_RANK": str(local),
                    "GROUP_RANK": str(first // processes.devices),
                    LAUNCHER: str(os.getpid()),
                }
                # a session of its own: Ctrl-C in a terminal would reach it twice
                children.append(
                    subprocess.Popen(
                        command, env=shared | ranks, stdin=subprocess.DEVNULL, start_new_session=True
                    )
                )
            return _watch(children, first, tell)
    finally:
        for child in children:
            if child.poll() is None:
                _end(child)


def _environment(processes: Processes, environment: Mapping[str, str]) -> dict[str, str]:
    shared = dict(environment)
    shared |= {"WORLD_SIZE": str(processes.count), "LOCAL_WORLD_SIZE": str(processes.devices)}
    if processes.nodes == 1:
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        if sys.platform == "linux":  # nothing is to be reached from elsewhere
            shared.setdefault("GLOO_SOCKET_IFNAME", "lo")
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes.devices)))
    return shared


def free_port() -> int:
    """Give a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _handed_on(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Hand SIGINT and SIGTERM on to the ranks, which know what to do."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {s: signal.signal(s, hand_on) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def _watch(children: Sequence[subprocess.Popen[bytes]], first: int, tell: Callable[[str], None]) -> int:
    told: set[int] = set()
    failed_at: float | None = None
    while any(child.poll() is None for child in children):
        for local, child in enumerate(children):
            status = child.poll()
            if status and local not in told:
                told.add(local)
                failed_at = failed_at or time.monotonic()
                if status < 0:
                    tell(_killed(first + local, -status))
        if failed_at is not None and time.monotonic() - failed_at > _GRACE:
            for local, child in enumerate(children):
                if child.poll() is None:
                    told.add(local)
                    tell(f"rank {first + local} did not stop by itself within {_GRACE:.0f} s and was ended")
                    _end(child)
        time.sleep(_WATCH)
    for local, child in enumerate(children):
        if child.returncode < 0 and local not in told:
            tell(_killed(first + local, -child.returncode))
    statuses = [child.returncode for child in children if child.returncode]
    if INTERRUPTED in statuses:
        return INTERRUPTED
    return next((status for status in statuses if status > 0), 1) if statuses else 0


def _killed(rank: int, number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    hint = ", as by the system when memory runs out" if number == signal.SIGKILL else ""
    return f"rank {rank} was killed by signal {number} ({name}{hint}); the others are stopped too"


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # with what it has started itself
    child.wait()


LAUNCHER = "BATCHOT_LAUNCHER"  # process number of the launcher that started this rank
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
        """Whether the ranks are still to be started."""
        return self.count > 1 and self.rank is None


def processes_of(devices: int | None, nodes: int | None, environment: Mapping[str, str]) -> Processes:
    """Give the processes of a training."""
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
