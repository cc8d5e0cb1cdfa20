"""Start the ranks of this machine, watch them, and end them together (imports no torch)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from batchot.training.distributed_processes import LAUNCHER, Processes, node_rank

_GRACE = 20.0  # seconds that the others have to say why they stop, once a rank has ended in failure
_WATCH = 0.1  # seconds between two looks
INTERRUPTED = 130


def launch(processes: Processes, command: Sequence[str], tell: Callable[[str], None]) -> int:
    """Run a command once for each rank of this machine, until all have ended.

    Where one ends in failure the others are ended too. Ctrl-C and SIGTERM are handed on to all of them.

    Args:
        processes: how many there are
        command: the program and its arguments
        tell: told which rank died of what

    Returns:
        Exit status: 0 where all ranks ended well, else that of the first rank that did not, 1 where it was killed.
    """
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
