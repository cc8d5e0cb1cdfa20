"""``batchot train`` over two processes: started, watched, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import PContext

from batchot.cli import main
from batchot.training.distributed import gone_text
from batchot.training.launch import Processes, launch
from serve_support import free_port

SMALL = ["data.limit=150", "batch.size=31", "evaluation.train_samples=100", "evaluation.every=1000"]
SMALL += [
    "model.widths=[16,8]",
    "model.channels=[4,8]",
    "model.batch_norm=true",
    "loss.cross_entropy_weight=0.2",
]
TRAIN = ["-m", "batchot", "train", "digits", "--device", "cpu", *SMALL]


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process, which is not left behind whatever the test does."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """The children of a launcher, by rank."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    )
    return sorted(int(pid) for pid in listed.stdout.split() if alive(int(pid)))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 240
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until:
            process.terminate()
            raise AssertionError(process.communicate(timeout=60)[0])
        time.sleep(0.1)


def test_a_killed_rank_ends_the_others_with_its_name(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(*TRAIN, "--out", str(out), "--devices", "2", "--epochs", "100000") as launcher:
        wait_for(out / "history.csv", launcher)
        ranks = ranks_of(launcher)
        assert len(ranks) == 2
        os.kill(ranks[1], signal.SIGKILL)  # children are started in the order of their ranks
        text, _ = launcher.communicate(timeout=60)
        assert launcher.returncode == 1
        assert "rank 1 was killed by signal 9" in text
        assert "rank 1 of 2 is gone" in text
        assert "Traceback" not in text
        assert not any(alive(rank) for rank in ranks)


def test_sigterm_stops_all_ranks_with_a_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(*TRAIN, "--out", str(out), "--devices", "2", "--epochs", "100000") as launcher:
        wait_for(out / "history.csv", launcher)
        ranks = ranks_of(launcher)
        launcher.terminate()
        text, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 130
    assert text.count("interrupted; go on with: batchot train --resume") == 1
    assert (out / "checkpoints" / "last.ckpt").is_file()
    assert not any(alive(rank) for rank in ranks)


def test_ctrl_c_stops_all_ranks_with_one_checkpoint_and_torchrun_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(*TRAIN, "--out", str(out), "--devices", "2", "--epochs", "20") as launcher:
        wait_for(out / "history.csv", launcher)
        ranks = ranks_of(launcher)
        launcher.send_signal(signal.SIGINT)
        text, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 130
    assert text.count("a checkpoint is being written") == 1
    assert text.count("interrupted; go on with: batchot train --resume") == 1
    assert text.count("run folder:") == 1
    assert (out / "checkpoints" / "last.ckpt").is_file()
    assert not any(alive(rank) for rank in ranks)
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    with started(
        *torchrun, "-m", "batchot", "train", "--resume", "--out", str(out), "--device", "cpu"
    ) as agent:
        text, _ = agent.communicate(timeout=120)
    assert agent.returncode == 0, text
    assert text.count("resuming from") == 1
    rows = (out / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rows[1:]] == [str(epoch) for epoch in range(1, 21)]
    assert (out / "report.html").is_file()
    assert main(["evaluate", str(out), "--device", "cpu"]) == 0


def test_the_status_is_that_of_the_rank_that_failed(capfd: pytest.CaptureFixture[str]) -> None:
    script = "import os, sys, time; time.sleep(0.1); sys.exit(int(os.environ['RANK']) * 3)"
    told: list[str] = []
    assert launch(Processes(devices=2), [sys.executable, "-c", script], told.append) == 3
    assert told == []  # it has said so itself
    assert launch(Processes(devices=2), [sys.executable, "-c", "pass"], told.append) == 0


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.flaky(reruns=2)  # holds a clock
def test_a_rank_that_hangs_is_ended(deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    close = PContext.close  # which gives 30 s
    monkeypatch.setattr(PContext, "close", lambda context, number=None, seconds=30: close(context, number, 2))
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
    script = f"import os, signal, sys, time; {ignore}r = int(os.environ['RANK']); time.sleep(60 - 59 * r); sys.exit(r)"
    told: list[str] = []
    began = time.monotonic()
    assert launch(Processes(devices=2), [sys.executable, "-c", script], told.append) == 1
    assert time.monotonic() - began < 30
    assert told == (["rank 0 did not stop by itself and was ended"] if deaf else [])


def test_a_rank_without_a_sign_of_life_is_named() -> None:
    port = free_port()
    store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    script = (
        "import time; from batchot.training.distributed import Heartbeat; "
        f"Heartbeat('127.0.0.1', {port}, rank=0, count=2, limit=1.0); time.sleep(60)"
    )
    with started("-c", script) as rank:
        text, _ = rank.communicate(timeout=60)
    assert rank.returncode == 1
    assert gone_text([1], 2) in text
    assert store.get("beat/0")
