"""Training over several processes: strategy, heartbeat."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from batchot.errors import RunError, RunInterrupted
from batchot.ranks import of_all, rank_count, this_rank
from batchot.training.launch import LAUNCHER, Processes
from batchot.training.recipe import RecipeError

_EVERY = 2.0  # seconds between two signs
_SILENT = (
    6.0  # seconds without a sign after which a rank that others have lost is taken for the one that is gone
)
LIMIT = 300.0  # seconds without a sign after which a rank is given up though nothing else has gone wrong


class Heartbeat:
    """A thread in which a rank shows the others that it lives, and looks for their signs."""

    def __init__(self, host: str, port: int, rank: int, count: int, limit: float = LIMIT) -> None:
        self.rank, self.count, self.limit = rank, count, limit
        # a connection of its own: the one of the process group may be waiting
        self._store = dist.TCPStore(
            host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=30)
        )
        self._over = threading.Event()
        self._store_lost = False
        self.spoke = False  # whether this rank has said why it stops
        now = time.monotonic()
        self._seen = {other: (-1, now) for other in range(count) if other != rank}
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join(timeout=_EVERY)

    def silent(self, seconds: float) -> list[int]:
        """Give the ranks without a sign for so long."""
        now = time.monotonic()
        if self._store_lost:  # the store is where rank 0 is
            return [0] if self.rank != 0 else []
        return [other for other, (_, at) in self._seen.items() if now - at > seconds]

    def lost(self, patience: float = _SILENT + 3 * _EVERY) -> list[int]:
        """Wait until it shows who is gone, and give them; none where all are there."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if gone := self.silent(_SILENT):
                return gone
            time.sleep(0.2)
        return []

    def say(self, text: str) -> None:
        """Tell the others why this rank stops."""
        self.spoke = True
        with suppress(RuntimeError):
            self._store.set(f"error/{self.rank}", text)

    def hears(self, rank: int, text: str, patience: float) -> bool:
        """Say whether a rank has said just this, or does so soon."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if self._said(rank) == text:
                return True
            time.sleep(0.1)
        return False

    def any_error(self) -> bool:
        """Say whether some rank has said why it stops."""
        return any(self._said(other) is not None for other in self._seen)

    def _said(self, rank: int) -> str | None:
        with suppress(RuntimeError):
            key = f"error/{rank}"
            return self._store.get(key).decode() if self._store.check([key]) else None
        return None

    def _run(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                self._exchange(number)
            except RuntimeError:  # of which torch's DistError is one
                self._store_lost = True
                if self._over.wait(30.0):  # training is over, or its own error is about to say so
                    return
            if gone := self.silent(self.limit):
                self._give_up(gone)
            self._over.wait(_EVERY)

    def _exchange(self, number: int) -> None:
        self._store.set(f"beat/{self.rank}", str(number))
        for other, (before, _) in list(self._seen.items()):
            # get() would wait for a rank that is still on its way
            if self._store.check([f"beat/{other}"]):
                beat = int(self._store.get(f"beat/{other}"))
                if beat != before:
                    self._seen[other] = (beat, time.monotonic())

    def _give_up(self, gone: list[int]) -> None:
        print(f"batchot: rank {self.rank}: {gone_text(gone, self.count)}", file=sys.stderr, flush=True)
        os._exit(1)  # the main thread waits in a call that nothing else ends


def gone_text(gone: list[int], count: int) -> str:
    """Say in a sentence which ranks are gone."""
    if not gone:
        return f"the connection to another of the {count} ranks broke"
    names = ", ".join(str(rank) for rank in gone)
    one = len(gone) == 1
    return (
        f"rank{'' if one else 's'} {names} of {count} {'is' if one else 'are'} gone: "
        f"{'it was' if one else 'they were'} killed, ran out of memory, or {'its' if one else 'their'} machine or "
        "network failed"
    )


def end_with_launcher() -> None:
    """End this process when the launcher that started it is no longer there, in a thread of its own."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="launcher watch", daemon=True).start()


T = TypeVar("T")

_MEETING = timedelta(minutes=5)  # until all ranks have come
_WAITING = timedelta(
    hours=6
)  # for another rank: one may render views, or fit the SVM; the heartbeat finds the dead
_HEARD = 2.0  # seconds in which what one rank says reaches the others


class ToldByAnother(Exception):
    """This rank stops because of an error that another one tells the user."""

    def __init__(self, status: int) -> None:
        super().__init__(f"another rank says why (exit status {status})")
        self.status = status


@contextmanager
def joined(processes: Processes, accelerator: str) -> Iterator[None]:
    """Meet the other ranks in torch.distributed's default process group: gloo on CPUs, NCCL on GPUs."""
    if processes.rank is None:
        yield
        return
    if accelerator == "cuda":
        check_gpus(processes.devices, torch.cuda.device_count())
        torch.cuda.set_device(processes.local_rank)
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), os.environ.get("MASTER_PORT", "29500")
    try:
        store, rank, count = next(iter(dist.rendezvous("env://", timeout=_MEETING)))
        # what is small goes over the CPU in any case, so that no step waits for the GPU
        backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
        store.set_timeout(_WAITING)
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_WAITING)
    except (RuntimeError, ValueError, OSError) as error:  # all of DistError are RuntimeErrors
        raise RunError(_no_meeting(str(error), host, port, processes)) from error
    beat = Heartbeat(host, int(port), processes.rank, processes.count)
    try:
        yield
        dist.barrier()
    except (ToldByAnother, RunInterrupted):
        raise
    except Exception as error:
        raise _explained(error, beat, processes) from error
    finally:
        beat.stop()
        dist.destroy_process_group()
        if beat.spoke and processes.rank == 0:
            time.sleep(_HEARD)  # the store is in this process, and the others are about to look into it


def _explained(error: Exception, beat: Heartbeat, processes: Processes) -> Exception:
    """Give the error that this rank ends with, so that one rank says what was wrong and not all of them."""
    if not _is_broken_connection(error):
        beat.say(str(error))
        if processes.rank != 0 and beat.hears(0, str(error), _HEARD):
            return ToldByAnother(1)
        return error
    if beat.any_error():
        return ToldByAnother(1)
    gone = beat.lost()
    text = (
        f"{gone_text(gone, processes.count)}. Training has stopped; --resume goes on from the last checkpoint"
    )
    least = min((r for r in range(processes.count) if r not in gone), default=0)
    return RunError(text) if processes.rank == least else ToldByAnother(1)


def check_gpus(devices: int, there: int) -> None:
    """Check that each rank of this machine has a GPU of its own."""
    if there < devices:
        raise RunError(
            f"--devices {devices}: this machine has {there} GPU{'' if there == 1 else 's'}; use "
            f"{f'--devices {there}, or ' if there else ''}--device cpu"
        )


def _no_meeting(text: str, host: str, port: str, processes: Processes) -> str:
    first_line = text.strip().splitlines()[0] if text.strip() else "no answer"
    if "EADDRINUSE" in text or "address already in use" in text.lower():
        return (
            f"MASTER_PORT={port}: another program listens on this port of {host}; give another MASTER_PORT "
            "(torchrun: --master-port), or try again"
        )
    return (
        f"the {processes.count} ranks did not meet at {host}:{port} within {_MEETING.seconds // 60} minutes "
        f"({first_line}). Are all of them started, and can every machine reach that address?"
    )


def strategy() -> DDPStrategy:
    """Give Lightning's DDP over the ranks that have met."""
    return DDPStrategy(
        cluster_environment=TorchElasticEnvironment(),  # reads the variables of torchrun
        timeout=_WAITING,
        # pretrained backbones and losses of weight 0 have parameters that no gradient reaches
        find_unused_parameters=True,
        broadcast_buffers=False,  # the same everywhere: statistics are those of the whole batch
    )


def placement() -> tuple[int, int]:
    """Give the number of ranks on a machine, and of machines."""
    if rank_count() == 1:
        return 1, 1
    here = int(os.environ.get("LOCAL_WORLD_SIZE", rank_count()))
    return here, rank_count() // here


def together(work: Callable[[], T]) -> T:
    """Do something on every rank; where it fails on one, it fails on all, and the first rank says why."""
    error: Exception | None = None
    result: T | None = None
    try:
        result = work()
    except Exception as raised:
        error = raised
    if rank_count() > 1:
        _fail_together(error)
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _fail_together(error: Exception | None) -> None:
    is_usage = isinstance(error, RecipeError)
    told = of_all(None if error is None else (str(error) or type(error).__name__, is_usage))
    failed = [rank for rank, text in enumerate(told) if text is not None]
    if not failed or (error is not None and this_rank() == 0):
        return
    text, usage = told[failed[0]]  # type: ignore[misc]
    if this_rank() != 0:
        raise ToldByAnother(2 if usage else 1)
    raise (RecipeError if usage else RunError)(f"rank {failed[0]}: {text}")


def one_machine_first(work: Callable[[], T]) -> T:
    """Do something on all ranks, on the first one of each machine before the others, who find what it has left."""
    here = int(os.environ.get("LOCAL_RANK", this_rank())) if rank_count() > 1 else 0
    first = together(lambda: work() if here == 0 else None)
    others = together(lambda: work() if here > 0 else None) if rank_count() > 1 else None
    return first if here == 0 else others  # type: ignore[return-value]


def check_alike(what: Mapping[str, Any]) -> None:
    """Check that something is the same on all ranks."""
    mine = {name: repr(value) for name, value in what.items()}

    def compare() -> None:
        theirs = of_all(mine)
        first = theirs[0]
        for rank, other in enumerate(theirs):
            for name in [*first, *(name for name in other if name not in first)]:
                here, there = first.get(name, "not there"), other.get(name, "not there")
                if here != there:
                    raise RunError(
                        f"rank {rank} differs from rank 0 in {name}: {_short(there)} there, {_short(here)} on rank 0. "
                        "Start all ranks with the same command, data and versions"
                    )

    if rank_count() > 1:
        together(compare)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def versions() -> dict[str, str]:
    """Give what must be the same on all ranks whatever they train."""
    from importlib.metadata import version

    from batchot import __version__

    return {
        "the version of batchot": __version__,
        "the version of torch": str(torch.__version__),
        "the version of lightning": version("lightning"),
        "the version of Python": ".".join(platform.python_version_tuple()[:2]),
    }


def described(name: str, labels: Tensor, classes: tuple[str, ...]) -> dict[str, Any]:
    """Give what tells whether two ranks have the same samples."""
    digest = hashlib.sha256(labels.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
    return {
        f"number of {name}": len(labels),
        f"type of the labels of {name}": str(labels.dtype),
        f"classes of {name}": classes,
        f"order of the labels of {name} (a hash)": digest,
    }


def _is_broken_connection(error: Exception) -> bool:
    if not isinstance(error, RuntimeError) or isinstance(error, RunError):
        return False
    text = str(error)
    return isinstance(error, dist.DistError) or any(
        word in text
        for word in ("gloo", "Gloo", "NCCL", "Connection reset", "Connection closed", "Broken pipe")
    )
