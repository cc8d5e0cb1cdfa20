from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from batchot import compiling
from batchot.workers.process import ChildProcess, compiled_once


def events(teller: Any, clock: list[float], module: str) -> Callable[[float], None]:
    """Let a function of a module take so many seconds to compile."""
    event: Any = SimpleNamespace(
        data={"dispatcher": SimpleNamespace(py_func=SimpleNamespace(__module__=module))}
    )

    def compile_for(seconds: float) -> None:
        teller.on_start(event)
        teller.on_start(event)  # one that it calls
        clock[0] += seconds
        teller.on_end(event)
        teller.on_end(event)

    return compile_for


def test_compiling_for_longer_than_a_second_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(compiling.time, "perf_counter", lambda: clock[0])
    monkeypatch.delenv(compiling.NOTES, raising=False)
    teller = compiling._Teller()
    ours, others = (
        events(teller, clock, name) for name in ("batchot.losses.backends.cpu_kernels", "umap.utils")
    )
    others(60.0)
    ours(0.4)
    ours(0.4)
    assert not caplog.records
    for _ in range(3):
        ours(0.4)
    assert len(caplog.records) == 1 and "numba compiles" in caplog.text


def test_the_first_child_tells_the_user_what_its_own_standard_error_would_keep(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = (
        "import os, sys; from batchot import compiling; t = compiling._Teller(); t.spent = 2.0; t._tell(); "
        "print(os.environ['BATCHOT_NOTES'] != '', flush=True)"
    )
    for first in (b"True", b"False"):
        with compiled_once(code):
            child = ChildProcess(code)
            try:
                assert child.stdout.readline().strip() == first
            finally:
                child.close()
    assert capfd.readouterr().err.count("numba compiles") == 1


def test_others_start_when_the_first_is_ready() -> None:
    inside, ready, order = threading.Event(), threading.Event(), []

    def start(name: str) -> None:
        with compiled_once("some code"):
            if name == "first":
                inside.set()
                ready.wait(20)
            order.append(name)

    threads = [threading.Thread(target=start, args=(name,)) for name in ("first", "second", "third")]
    threads[0].start()
    assert inside.wait(20)
    for thread in threads[1:]:
        thread.start()
    ready.set()
    for thread in threads:
        thread.join()
    assert order[0] == "first" and sorted(order[1:]) == ["second", "third"]


def test_a_child_that_dies_has_compiled_nothing() -> None:
    with pytest.raises(RuntimeError), compiled_once("code that dies"):
        raise RuntimeError
    entered = []
    with compiled_once("code that dies"):
        entered.append(1)
    assert entered
