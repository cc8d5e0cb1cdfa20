"""Tasks in processes of this machine: a task costs its own process only where it dies or is late."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from batchot.workers.pool import Apart, EngineError, Lost, ProcessPool


class Deeds:
    """Doubles numbers, and does what it is told by words."""

    def __init__(self, note: str = "") -> None:
        if note == "fail":
            raise ImportError("pip install it")
        self.note = note

    def __call__(self, task: int | str) -> object:
        if isinstance(task, int):
            return 2 * task
        deed, _, path = task.partition(" ")
        if deed == "die" or (deed == "once" and not Path(path).exists()):
            Path(path or os.devnull).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif deed == "hang":
            time.sleep(600)
        elif deed == "memory":
            raise MemoryError
        elif deed == "refuse":
            raise LookupError("not this one")
        elif deed == "print":
            os.write(1, b"a library says hello\n")
        return os.getpid()


def test_what_dies_is_late_or_too_large_costs_itself_alone(tmp_path: Path) -> None:
    tasks = [1, "die", 2, "hang", 3, "memory", f"once {tmp_path / 'mark'}", "print", 4]
    with ProcessPool(Deeds, 2, time_limit=3.0) as pool:
        answers = dict(pool.run(tasks))
        (_, pid), *_ = pool.run(["pid"])
        (_, same), *_ = pool.run(["pid"])
    assert list(sorted(answers)) == list(range(len(tasks)))
    assert [answers[k] for k in (0, 2, 4, 8)] == [2, 4, 6, 8]
    assert all(isinstance(answers[k], int) for k in (6, 7))
    lost = [answers[k] for k in (1, 3, 5)]
    assert [str(each) for each in lost] == [
        "the process that had it died, it was ended by SIGKILL, perhaps for lack of memory (2 tries)",
        "it took longer than 3 s",
        "there is not enough memory for it (2 tries)",
    ]
    assert [each.kind for each in lost] == ["process", "time", "memory"]
    assert pid == same != os.getpid()  # it stayed for the next tasks
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_is_raised_ends_the_work_and_another_may_follow() -> None:
    with ProcessPool(Deeds, 2) as pool:
        with pytest.raises(LookupError, match="not this one"):
            list(pool.run(["hang", "refuse", 1]))  # without waiting for what hangs
        assert sorted(pool.run([1, 2])) == [(0, 2), (1, 4)]
        left_early = pool.run([1, "hang"])
        assert next(left_early) == (0, 2)
        left_early.close()
        assert list(pool.run([])) == []


def test_a_worker_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match="pip install it"):
        list(ProcessPool(partial(Deeds, "fail"), 1).run([1]))
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(EngineError, match="no process could be started: it ended with status 1"):
        list(ProcessPool(Deeds, 1).run([1]))


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_one_process_apart_is_started_anew_and_can_be_closed_by_others(tmp_path: Path) -> None:
    worker = Apart(Deeds, time_limit=2.0)
    assert worker(4) == 8
    dead = worker("die")
    assert isinstance(dead, Lost) and dead.tries == 2
    assert isinstance(worker(f"once {tmp_path / 'mark'}"), int)
    started = time.monotonic()
    late = worker("hang")
    assert (
        isinstance(late, Lost) and (late.kind, late.tries) == ("time", 1) and time.monotonic() - started < 4
    )
    threading.Timer(0.5, worker.close).start()
    with pytest.raises(Exception, match="SIGKILL"):
        worker("hang")
    with pytest.raises(Exception, match="closed"):
        worker(1)
