"""Signs of life of the ranks: who is gone, where a message says only that somebody is."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

from batchot.training.distributed_processes import LAUNCHER

_EVERY = 2.0  # seconds between two signs
_SILENT = (
    6.0  # seconds without a sign after which a rank that others have lost is taken for the one that is gone
)
LIMIT = 300.0  # seconds without a sign after which a rank is given up though nothing else has gone wrong


class Heartbeat:
    """A thread in which a rank shows the others that it lives, and looks for their signs.

    A rank that shows none for `limit` seconds, such as one on a machine that has lost its power, ends this process
    with its name. One that was killed is noticed at once by its broken connections; `lost` then says which it was.

    Args:
        host, port: where the store of the ranks is, as in MASTER_ADDR and MASTER_PORT
        rank: of this process
        count: number of ranks
        limit: seconds
    """

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
    """Say in a sentence which ranks are gone.

    >>> gone_text([1], 4)
    'rank 1 of 4 is gone: it was killed, ran out of memory, or its machine or network failed'
    """
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
