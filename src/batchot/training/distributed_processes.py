"""Which processes a training is spread over: from options and environment (imports no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchot.training.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from batchot.training.cross_recipe import CrossModalRecipe

LAUNCHER = "BATCHOT_LAUNCHER"  # process number of the launcher that started this rank
_STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # what torchrun tells each process that it starts


class ProcessesError(ValueError):
    """Options and environment do not say which processes there are; the message says what to change."""


@dataclass(frozen=True)
class Processes:
    """The processes of a training, the ranks 0 .. N - 1.

    Args:
        devices: processes on this machine, each with a GPU or some cores of its own
        nodes: machines
        rank: of this process; None where they are still to be started
        local_rank: its number among those of this machine

    >>> Processes(devices=2, nodes=3).count
    6
    """

    devices: int = 1
    nodes: int = 1
    rank: int | None = None
    local_rank: int = 0

    @property
    def count(self) -> int:
        """Number of ranks, N."""
        return self.devices * self.nodes

    @property
    def to_start(self) -> bool:
        """Whether the ranks are still to be started."""
        return self.count > 1 and self.rank is None


def processes_of(devices: int | None, nodes: int | None, environment: Mapping[str, str]) -> Processes:
    """Give the processes of a training.

    Args:
        devices: --devices, None where it was not given
        nodes: --num-nodes, likewise
        environment: of the process; where torchrun or `batchot.training.distributed_launch` started it, that says
            how many there are

    Raises:
        ProcessesError: a number is below 1, the options contradict torchrun, or it is not known where the other
            machines are

    >>> processes_of(None, None, {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"})
    Processes(devices=2, nodes=1, rank=1, local_rank=1)
    """
    for option, value in (("--devices", devices), ("--num-nodes", nodes)):
        if value is not None and value < 1:
            raise ProcessesError(f"{option} {value}: it must be 1 or more")
    if all(name in environment for name in _STARTED):
        return _started(devices, nodes, environment)
    wanted = Processes(devices or 1, nodes or 1)
    if wanted.nodes > 1:
        node_rank(wanted, environment)
    return wanted


def _started(devices: int | None, nodes: int | None, environment: Mapping[str, str]) -> Processes:
    count = _number("WORLD_SIZE", environment, 1)
    here = (
        _number("LOCAL_WORLD_SIZE", environment, 1) if "LOCAL_WORLD_SIZE" in environment else devices or count
    )
    if devices not in (None, here):
        raise ProcessesError(
            f"--devices {devices}, but {here} processes were started on this machine (LOCAL_WORLD_SIZE={here}); "
            "leave --devices out under torchrun"
        )
    if count % here or nodes not in (None, count // here):
        shown = f"--num-nodes {nodes}" if nodes is not None else "every machine must have as many processes"
        raise ProcessesError(
            f"{shown}, but {count} processes were started in all (WORLD_SIZE={count}) and {here} on this machine; "
            "leave --num-nodes out under torchrun, and give --nproc-per-node the same value everywhere"
        )
    if count == 1:
        return Processes()
    rank = _number("RANK", environment, 0)
    if rank >= count:
        raise ProcessesError(f"RANK={rank}, but there are {count} processes (WORLD_SIZE={count})")
    return Processes(here, count // here, rank, _number("LOCAL_RANK", environment, 0))


def node_rank(processes: Processes, environment: Mapping[str, str]) -> int:
    """Give the number of this machine among several.

    Raises:
        ProcessesError: the environment does not say it, or not where the first machine is

    >>> there = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}
    >>> node_rank(Processes(devices=2, nodes=2), there)
    1
    """
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if not environment.get(name)]
    if missing:
        raise ProcessesError(
            f"--num-nodes {processes.nodes}: set {', '.join(missing)} on each machine: the address of the first one, "
            f"a free port there, and this machine's number, 0 to {processes.nodes - 1}; or start with torchrun"
        )
    _number("MASTER_PORT", environment, 1)
    number = _number("NODE_RANK", environment, 0)
    if number >= processes.nodes:
        raise ProcessesError(
            f"NODE_RANK={number}: it must be 0 to {processes.nodes - 1} with --num-nodes {processes.nodes}"
        )
    return number


def _number(name: str, environment: Mapping[str, str], least: int) -> int:
    text = environment[name]
    if not text.isdecimal() or int(text) < least:
        raise ProcessesError(f"{name}={text!r} in the environment: it must be a whole number from {least}")
    return int(text)


def check_parts(recipe: Recipe | CrossModalRecipe, processes: int) -> None:
    """Check that every rank gets a part of every batch.

    Args:
        recipe: of one network or of several towers
        processes: number of ranks

    Raises:
        RecipeError: a batch, or a half of it, has fewer samples than there are ranks
    """
    towers = {"": recipe} if isinstance(recipe, Recipe) else recipe.towers
    for name, tower in towers.items():
        size, setting = tower.batch.size, f"{name}.batch.size" if name else "batch.size"
        halves = name == "" and tower.loss.against == "halves"
        if (size // 2 if halves else size) < processes:
            what = "each half of a batch (loss.against=halves)" if halves else "a batch"
            raise RecipeError(
                f"{setting}: {size} samples cannot be spread over {processes} processes, as each needs one of "
                f"{what}; set it to {processes * (2 if halves else 1)} or more, or use fewer --devices"
            )
