"""A run that is stopped anywhere and resumed ends with the weights and figures of an undisturbed one."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from batchot.cli import main
from batchot.errors import RunError, RunInterrupted
from batchot.training.callbacks import Checkpoints, History, Row
from batchot.training.learner import Learner
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.recipes import load_recipe
from batchot.training.run import Messages, train

OVERRIDES = [
    ("epochs", "3"),
    ("data.limit", "320"),
    ("batch.size", "32"),
    ("augment.shift", "1"),
    ("checkpoint_minutes", "1e-9"),  # a checkpoint after every batch
    ("evaluation.train_samples", "100"),
    ("model.widths", "[16,8]"),
    ("model.channels", "[4,8]"),
    ("optim.ema", "0.9"),
    ("loss.cross_entropy_weight", "0.2"),
]
BATCHES = 10  # an epoch


class Killed(BaseException):
    """Stands for the death of the process: nothing catches it."""


def small_recipe() -> Recipe:
    return load_recipe("digits", OVERRIDES)


def weights(out: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    return {**saved["state_dict"], **{f"current.{k}": v for k, v in saved["current_model_state"].items()}}


def comparable(row: Row) -> dict[str, object]:
    return {k: v for k, v in dataclasses.asdict(row).items() if k != "seconds"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run = train(small_recipe(), out, device="cpu")
    return out, [comparable(row) for row in run.rows]


def assert_resumes_to(out: Path, undisturbed: tuple[Path, list[dict[str, object]]]) -> None:
    whole, rows = undisturbed
    run = train(small_recipe(), out, device="cpu", resume=True)
    assert [comparable(row) for row in run.rows] == rows
    expected, got = weights(whole), weights(out)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert torch.equal(value, got[name]), name


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Let the method of a class die at its k-th call, before or after its work."""

    def arrange(owner: type, method: str, calls: int, *, after: bool) -> None:
        original, count = getattr(owner, method), iter(range(1, 10**6))

        def dying(*args: object, **kwargs: object) -> object:
            now = next(count) == calls
            if now and not after:
                raise Killed
            result = original(*args, **kwargs)
            if now:
                raise Killed
            return result

        monkeypatch.setattr(owner, method, dying)

    yield arrange


@pytest.mark.parametrize(
    ("owner", "method", "calls", "after"),
    [
        (Learner, "training_step", 1, False),  # before any checkpoint
        (Learner, "training_step", BATCHES // 2, True),  # within the first epoch
        (Checkpoints, "on_train_batch_end", BATCHES - 1, True),  # checkpoint before the last batch
        (Learner, "training_step", BATCHES + 4, True),  # within the second epoch
        (Learner, "validation_step", 1, True),  # while the epoch is evaluated
        (History, "write", 2, True),  # the row is written, the checkpoint of the epoch is not
        (Checkpoints, "on_train_epoch_end", 1, True),  # the checkpoint is written, the next epoch not begun
        (Checkpoints, "on_train_epoch_end", 3, True),  # everything is trained
    ],
)
def test_resumed_run_equals_undisturbed_one(
    owner: type,
    method: str,
    calls: int,
    after: bool,
    tmp_path: Path,
    undisturbed: tuple[Path, list[dict[str, object]]],
    killed_after: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed_after(owner, method, calls, after=after)  # type: ignore[operator]
    with pytest.raises(Killed):
        train(small_recipe(), tmp_path / "run", device="cpu")
    monkeypatch.undo()
    assert_resumes_to(tmp_path / "run", undisturbed)


def test_resume_of_a_finished_run_changes_nothing(undisturbed: tuple[Path, list[dict[str, object]]]) -> None:
    assert_resumes_to(undisturbed[0], undisturbed)


def test_stop_request_ends_with_a_checkpoint_and_resumes(
    tmp_path: Path, undisturbed: tuple[Path, list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, out = Learner.training_step, tmp_path / "run"

    def pressing(self: Learner, batch: object, batch_idx: int) -> torch.Tensor:
        if self.global_step == BATCHES + 3:
            signal.raise_signal(signal.SIGINT)
        return original(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "training_step", pressing)
    told: list[str] = []
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(RunInterrupted):
        train(small_recipe(), out, device="cpu", messages=Messages(note=told.append))
    monkeypatch.undo()
    assert any("a checkpoint is being written" in text for text in told)
    assert signal.getsignal(signal.SIGINT) == handler
    assert torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == BATCHES + 4
    assert_resumes_to(out, undisturbed)


@pytest.mark.parametrize("moment", ["batch", "fsync"])
def test_killed_process_leaves_a_run_that_resumes(
    moment: str, tmp_path: Path, undisturbed: tuple[Path, list[dict[str, object]]]
) -> None:
    """SIGKILL itself: between two batches, and while a checkpoint is being written."""
    out = tmp_path / "run"
    program = f"""
import os, signal
from pathlib import Path
import batchot.files as files
from batchot.training.callbacks import Checkpoints
from batchot.training.run import train
from batchot.training.recipes import load_recipe

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

original = Checkpoints.on_train_batch_end
def at_batch(self, trainer, *rest):
    if trainer.global_step == {BATCHES + 5}:
        if {moment!r} == "fsync":
            files.os.fsync = die
        else:
            die()
    original(self, trainer, *rest)

Checkpoints.on_train_batch_end = at_batch
train(load_recipe("digits", {OVERRIDES!r}), Path({str(out)!r}), device="cpu")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == BATCHES + 4
    assert_resumes_to(out, undisturbed)


def test_full_disk_stops_with_the_previous_checkpoint_good(
    tmp_path: Path, undisturbed: tuple[Path, list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls, fsync = tmp_path / "run", iter(range(10**6)), os.fsync

    def full_later(handle: int) -> None:
        if next(calls) > 6:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full_later)
    with pytest.raises(RunError, match=r"No space left on device; the previous last.ckpt is untouched"):
        train(small_recipe(), out, device="cpu")
    monkeypatch.undo()
    assert not list(out.rglob("*.part"))
    assert_resumes_to(out, undisturbed)


def test_another_recipe_is_refused_with_the_setting_that_differs(
    undisturbed: tuple[Path, list[dict[str, object]]],
) -> None:
    other = load_recipe("digits", [*OVERRIDES, ("loss.lam", "3")])
    with pytest.raises(RunError, match=r"--resume: loss.lam is 3.0 here but 5.0 in .*config.yaml"):
        train(other, undisturbed[0], device="cpu", resume=True)


def test_checkpoint_of_another_network_is_refused_before_training(
    tmp_path: Path, undisturbed: tuple[Path, list[dict[str, object]]]
) -> None:
    out = tmp_path / "run"
    wider = load_recipe("digits", [*OVERRIDES, ("model.widths", "[16,12]"), ("epochs", "1")])
    train(wider, out, device="cpu")
    last = out / "checkpoints" / "last.ckpt"
    last.write_bytes((undisturbed[0] / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(
        RunError,
        match=r"of another network: network.towers.model.embedder.head.* is \(8, 16\) there and \(12, 16\)",
    ):
        train(wider, out, device="cpu", resume=True)


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RunError, match=r"has no config.yaml"):
        train(small_recipe(), tmp_path, device="cpu", resume=True)


def test_resume_without_a_run_starts_one(
    tmp_path: Path, undisturbed: tuple[Path, list[dict[str, object]]]
) -> None:
    assert_resumes_to(tmp_path / "run", undisturbed)


CUT = [*OVERRIDES[1:], ("epochs", "9"), ("max_steps", str(4 * BATCHES - 1))]


def cut_recipe(**changes: str) -> Recipe:
    return load_recipe("digits", [*CUT, *changes.items()])


@pytest.mark.parametrize(
    ("max_steps", "steps", "epochs"), [(None, 10, 9), (89, 10, 8), (90, 10, 9), (900, 10, 9), (5, 10, 1)]
)
def test_whole_epochs_and_one_at_least(max_steps: int | None, steps: int, epochs: int) -> None:
    recipe = load_recipe(
        "digits", [("epochs", "9"), ("max_steps", "null" if max_steps is None else str(max_steps))]
    )
    assert recipe.for_steps(steps).epochs == epochs


def test_a_cut_run_is_the_run_of_so_many_epochs(tmp_path: Path) -> None:
    told: list[str] = []
    asked = train(small_recipe(), tmp_path / "asked", device="cpu")
    run = train(cut_recipe(), tmp_path / "run", device="cpu", messages=Messages(note=told.append))
    assert "epochs: 3 of 10 steps, as max_steps is 39" in told
    assert [comparable(row) for row in run.rows] == [comparable(row) for row in asked.rows]
    assert load_recipe(str(tmp_path / "run" / "config.yaml")).epochs == run.recipe.epochs == 3


def test_it_is_resumed_as_it_was_started_and_as_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def stop(row: object) -> None:
        raise KeyboardInterrupt

    whole = train(cut_recipe(), tmp_path / "whole", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(cut_recipe(), out, device="cpu", messages=Messages(epoch=stop))
    before = (out / "config.yaml").read_bytes()
    for other in ({"max_steps": "25"}, {"max_steps": "null"}, {"epochs": "2"}):
        with pytest.raises(RunError, match=r"--resume: (epochs|max_steps) is .* here but"):
            train(cut_recipe(**other), out, device="cpu", resume=True)
    run = train(cut_recipe(), out, device="cpu", resume=True)
    assert (out / "config.yaml").read_bytes() == before
    assert [comparable(row) for row in run.rows] == [comparable(row) for row in whole.rows]


def test_the_command_counts_the_epochs_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"{name}={value}" for name, value in CUT]
    assert main(["train", "digits", *settings, "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "epoch 1/3 " in out and "epoch 3/3 " in out


def test_no_steps_are_refused() -> None:
    with pytest.raises(RecipeError, match="max_steps"):
        load_recipe("digits", [("max_steps", "0")])
