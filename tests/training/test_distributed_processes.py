"""Which processes there are, from options and environment, and what is refused before anything is started."""

from __future__ import annotations

import socket

import pytest
import torch

from batchot.cli import main
from batchot.errors import RunError
from batchot.training.distributed import check_gpus, joined
from batchot.training.launch import Processes, ProcessesError, check_parts, processes_of
from batchot.training.recipe import RecipeError
from batchot.training.recipes import load_recipe

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"}
NODE = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}


def test_one_process_is_the_default() -> None:
    assert processes_of(None, None, {}) == Processes()
    assert processes_of(None, None, TORCHRUN | {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}) == Processes()


def test_torchrun_says_how_many_there_are() -> None:
    expected = Processes(devices=2, nodes=2, rank=3, local_rank=1)
    assert processes_of(None, None, TORCHRUN) == processes_of(2, 2, TORCHRUN) == expected
    assert not expected.to_start and Processes(devices=2).to_start


@pytest.mark.parametrize(
    ("devices", "nodes", "environment", "message"),
    [
        (0, None, {}, "--devices 0: it must be 1 or more"),
        (None, -1, {}, "--num-nodes -1: it must be 1 or more"),
        (4, None, TORCHRUN, r"--devices 4, but 2 processes were started .*LOCAL_WORLD_SIZE=2.*torchrun"),
        (None, 3, TORCHRUN, r"--num-nodes 3, but 4 processes were started in all \(WORLD_SIZE=4\)"),
        (None, None, TORCHRUN | {"WORLD_SIZE": "5"}, "every machine must have as many processes"),
        (None, None, TORCHRUN | {"RANK": "4"}, "RANK=4, but there are 4 processes"),
        (None, None, TORCHRUN | {"WORLD_SIZE": "two"}, "WORLD_SIZE='two' in the environment"),
        (2, 2, {}, "set MASTER_ADDR, MASTER_PORT, NODE_RANK on each machine"),
        (2, 2, NODE | {"NODE_RANK": "2"}, "NODE_RANK=2: it must be 0 to 1"),
        (2, 2, NODE | {"MASTER_PORT": "http"}, "MASTER_PORT='http'"),
    ],
)
def test_contradictions_are_refused(
    devices: int | None, nodes: int | None, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ProcessesError, match=message):
        processes_of(devices, nodes, environment)


def test_every_rank_needs_a_part_of_every_batch() -> None:
    recipe = load_recipe("digits", [("batch.size", "6"), ("loss.against", "halves")])
    check_parts(recipe, 3)
    with pytest.raises(RecipeError, match=r"batch.size: 6 .* 4 processes.* half .*set it to 8 or more"):
        check_parts(recipe, 4)


def test_the_command_refuses_before_it_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "digits", "--devices", "4", "batch.size=3"]) == 2
    assert "batch.size: 3 samples cannot be spread over 4 processes" in capsys.readouterr().err
    assert main(["train", "digits", "--devices", "two"]) == 2
    assert "--devices" in capsys.readouterr().err
    assert main(["train", "digits", "--num-nodes", "2"]) == 2
    assert "MASTER_ADDR" in capsys.readouterr().err
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "digits", "--devices", "4"]) == 2
    assert "LOCAL_WORLD_SIZE=2" in capsys.readouterr().err


def test_too_few_gpus() -> None:
    check_gpus(2, 2)
    with pytest.raises(RunError, match="--devices 2: this machine has 0 GPUs; use --device cpu"):
        check_gpus(2, 0)
    if not torch.cuda.is_available():
        with (
            pytest.raises(RunError, match="--devices 2: this machine has 0 GPUs"),
            joined(Processes(2, 1, rank=0), "cuda"),
        ):
            pass


def test_a_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MASTER_PORT", str(port))
        message = f"MASTER_PORT={port}: another program listens on this port"
        with pytest.raises(RunError, match=message), joined(Processes(2, 1, rank=0), "cpu"):
            pass
