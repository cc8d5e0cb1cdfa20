"""Training over several processes: strategy, heartbeat."""

from __future__ import annotations

import hashlib
import os
import platform
import signal
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
from batchot.training.launch import Processes, no_meeting
from batchot.training.recipe import RecipeError

_EVERY = 2.0  # seconds between two signs
# seconds without a sign after which a rank that others have lost is taken for the one that is gone
_SILENT = 6.0
LIMIT = 300.0  # seconds without a sign after which a rank is given up though nothing else has gone wrong
_MEETING = timedelta(minutes=5)  # until all ranks have come
# for another rank, which may render views or fit the SVM: the heartbeat finds the dead
_WAITING = timedelta(hours=6)
_HEARD = 2.0  # seconds in which what one rank says reaches the others

T = TypeVar("T")


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
        now = time.monotonic()
        self._seen = {other: (-1, now) for other in range(count) if other != rank}
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(timeout=_EVERY)

    def lost(self, patience: float = _SILENT + 3 * _EVERY) -> list[int]:
        """Wait until it shows who is gone, and give them; none where all are there."""
        until = time.monotonic() + patience
        while not (gone := self._silent(_SILENT)) and time.monotonic() < until:
            time.sleep(0.2)
        return gone

    def errors(self, add: int = 0) -> int:
        """Count the ranks that have an error to tell, this one added or not."""
        with suppress(RuntimeError):
            return self._store.add("errors", add)
        return add  # the store is gone: nobody else can be asked

    def _silent(self, seconds: float) -> list[int]:
        now = time.monotonic()
        if self._store_lost:  # the store is where rank 0 is
            return [0] if self.rank != 0 else []
        return [other for other, (_, at) in self._seen.items() if now - at > seconds]

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
            if gone := self._silent(self.limit):
                print(
                    f"batchot: rank {self.rank}: {gone_text(gone, self.count)}", file=sys.stderr, flush=True
                )
                os._exit(1)  # the main thread waits in a call that nothing else ends
            self._over.wait(_EVERY)

    def _exchange(self, number: int) -> None:
        self._store.set(f"beat/{self.rank}", str(number))
        for other, (before, _) in list(self._seen.items()):
            # get() would wait for a rank that is still on its way
            if self._store.check([f"beat/{other}"]):
                beat = int(self._store.get(f"beat/{other}"))
                if beat != before:
                    self._seen[other] = (beat, time.monotonic())


def gone_text(gone: list[int], count: int) -> str:
    if not gone:
        return f"the connection to another of the {count} ranks broke"
    ranks = (
        f"rank {gone[0]} of {count} is"
        if len(gone) == 1
        else f"ranks {', '.join(map(str, gone))} of {count} are"
    )
    return f"{ranks} gone: killed, out of memory, or a machine or its network failed"


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
    try:
        store, rank, count = next(iter(dist.rendezvous("env://", timeout=_MEETING)))
        # what is small goes over the CPU in any case, so that no step waits for the GPU
        backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
        store.set_timeout(_WAITING)
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_WAITING)
    except (RuntimeError, ValueError, OSError) as error:  # all of DistError are RuntimeErrors
        raise RunError(no_meeting(str(error), processes, os.environ)) from error
    beat, wait = Heartbeat(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), rank, count), 0.0
    try:
        yield
        dist.barrier()
    except RunInterrupted:
        raise
    except Exception as error:
        why = _first_told(error, beat)
        # rank 0 may have the store, where the others look; who tells nothing lets the others come to telling
        wait = 2 * _HEARD if rank == 0 else _HEARD if isinstance(why, ToldByAnother) else 0.0
        raise why from error
    finally:
        beat.stop()
        dist.destroy_process_group()
        time.sleep(wait)


def _first_told(error: Exception, beat: Heartbeat) -> Exception:
    """Give the error that this rank ends with: one rank says what was wrong, the others that it does."""
    if threading.current_thread() is threading.main_thread():  # the agent ends those that are left
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _is_broken_connection(error):
        gone = [] if beat.errors() else beat.lost()
        least = min((r for r in range(beat.count) if r not in gone), default=0)
        if beat.errors() or beat.rank != least:
            return ToldByAnother(1)
        stopped = "Training has stopped; --resume goes on from the last checkpoint"
        return RunError(f"{gone_text(gone, beat.count)}. {stopped}")
    if isinstance(error, ToldByAnother):
        return error
    time.sleep(_HEARD * (beat.rank > 0))  # what all of them see, the first one says
    return error if beat.errors(add=1) == 1 else ToldByAnother(1)


def _is_broken_connection(error: Exception) -> bool:
    words = ("gloo", "Gloo", "NCCL", "Connection reset", "Connection closed", "Broken pipe")
    if not isinstance(error, RuntimeError) or isinstance(error, RunError):
        return False
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def check_gpus(devices: int, there: int) -> None:
    if there < devices:
        raise RunError(
            f"--devices {devices}: this machine has {there} GPU{'' if there == 1 else 's'}; use "
            f"{f'--devices {there}, or ' if there else ''}--device cpu"
        )


def strategy() -> DDPStrategy:
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
