"""A run that is out of memory says what to turn down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from batchot.cli import main
from batchot.errors import RunError
from batchot.towers.tower import Tower
from batchot.training.learner import advice, is_out_of_memory
from batchot.training.losses import Objective
from batchot.training.recipes import load_recipe
from batchot.training.run import train

TOO_MUCH = 1 << 60  # bytes, more than any machine can address

Overrides = tuple[tuple[str, str], ...]


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the network ask for too much memory in the modes that are put into this list."""
    modes: list[str] = []
    original = Tower.forward

    def asking(self: Tower, samples: Tensor) -> object:
        if ("training" if self.training else "evaluation") in modes:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        return original(self, samples)

    monkeypatch.setattr(Tower, "forward", asking)
    return modes


def test_of_training(small: Overrides, greedy: list[str], tmp_path: Path) -> None:
    greedy.append("training")
    with pytest.raises(RunError) as caught:
        train(load_recipe("digits", small), tmp_path / "run", device="cpu")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("this machine is out of memory in training (asked for 1,073,741,824.00 GiB)")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "batch.chunk=12",
        "precision=bf16",
        "batch.size=25",
    ]
    for line in lines[1:]:  # each is a setting that the command takes
        name, value = line.split(":")[0].strip().split("=")
        load_recipe("digits", (*small, (name, value)))


def test_of_the_backward_pass(small: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            return torch.empty(TOO_MUCH, dtype=torch.uint8)

    original = Objective.forward
    monkeypatch.setattr(Objective, "forward", lambda *given: Greedy.apply(original(*given)))
    recipe = load_recipe("digits", (*small, ("batch.chunk", "20"), ("precision", "bf16")))
    with pytest.raises(RunError, match=r"batch.chunk=5: samples in the network at once, now 20") as caught:
        train(recipe, tmp_path / "run", device="cpu")
    assert "precision" not in str(caught.value)


def test_of_the_evaluation(small: Overrides, greedy: list[str], tmp_path: Path) -> None:
    greedy.append("evaluation")
    with pytest.raises(
        RunError, match=r"in the evaluation of an epoch .*\n  evaluation.batch=25: .* now 100"
    ):
        train(load_recipe("digits", small), tmp_path / "run", device="cpu")


def test_of_towers(digits_twice: Path, greedy: list[str], tmp_path: Path) -> None:
    greedy.append("training")
    recipe = load_recipe(str(digits_twice))
    with pytest.raises(RunError) as caught:
        train(recipe, tmp_path / "run", device="cpu")
    named = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert named == [
        "left.batch.chunk=5",
        "precision=bf16",
        "left.batch.size=10",
        "right.batch.chunk=7",
        "right.batch.size=15",
    ]


def test_the_command_prints_it(greedy: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    greedy.append("training")
    assert main(["train", "digits", "--out", str(tmp_path / "run"), "--device", "cpu"]) == 1
    assert "batch.chunk=16: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ("shapes", "shapes.size=32: pixels a side of a view, now 64"),
        ("modelnet40-points", "shapes.points=64: points a cloud, now 128"),
        ("image-folder-scratch", "data.image_size=16: pixels a side of an image, now 32"),
    ],
)
def test_samples_can_be_made_smaller(recipe: str, line: str) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")
    text = advice(load_recipe(recipe), True, error)
    assert text.startswith("the GPU is out of memory in training (asked for 20.00 GiB)")
    assert line in text


def test_which_errors_are_meant() -> None:
    with pytest.raises(MemoryError) as numpy_error:
        np.empty(1 << 45)
    assert is_out_of_memory(numpy_error.value)
    with pytest.raises(RuntimeError) as torch_error:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    assert is_out_of_memory(torch_error.value)
    with pytest.raises(RuntimeError) as other:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_out_of_memory(other.value)
