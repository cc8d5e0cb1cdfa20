"""What several ranks do in the tests of the parts of distributed training; run in each of them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from batchot.errors import RunError, RunInterrupted
from batchot.losses.joint import mean_cross_entropy
from batchot.models.layers import synchronise_dropout, synchronise_norms
from batchot.models.points import EdgeConv
from batchot.ranks import (
    from_first,
    of_all,
    on_any,
    on_first,
    rank_count,
    rows_of_all,
    sizes_of_all,
    this_rank,
)
from batchot.training import run
from batchot.training.callbacks import StopRequest
from batchot.training.distributed import ToldByAnother, check_alike, described, one_machine_first, together
from batchot.training.network import recalibrate
from batchot.training.recipe import RecipeError
from batchot.training.recipes import load_recipe
from distributed_trainings import as_rank

SIZES = (5, 2, 0)  # rows of each rank


def batch(*shape: int) -> Tensor:
    return torch.randn(sum(SIZES), *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def mine(rows: Tensor) -> Tensor:
    """This rank's rows of a batch, or all of them outside of a group."""
    return rows if rank_count() == 1 else rows.split(SIZES)[this_rank()]


def numbers() -> dict[str, Any]:
    """Values and gradients whose counterparts of one process are known; gradients times the number of ranks."""
    done: dict[str, Any] = {}
    x = mine(batch(3)).requires_grad_()
    rows_of_all(x).square().sum().backward()
    done["rows"] = x.grad
    logits, labels = mine(batch(4)).requires_grad_(), mine(torch.arange(sum(SIZES)) % 4)
    entropy = mean_cross_entropy(logits, labels, 0.1)
    entropy.backward()
    done["entropy"], done["entropy, gradient"] = entropy.detach(), logits.grad
    return done


def normalised(norm: nn.Module, x: Tensor) -> dict[str, Any]:
    """One step of a normalisation in a loss that is no plain sum."""
    network = nn.Sequential(norm).double()
    if rank_count() > 1:
        synchronise_norms(network)
    x = x.requires_grad_()
    y = network(x)
    (
        y * torch.arange(y.numel()).view_as(y).cos() if rank_count() == 1 else y * weights_of(y)
    ).sum().backward()
    own = {"y": y.detach(), "x": x.grad}
    return own | {k: p.grad for k, p in network.named_parameters()} | dict(network.named_buffers())


def weights_of(y: Tensor) -> Tensor:
    """This rank's part of the weights that one process gives to all outputs."""
    per_row = y[0].numel() if len(y) else 0
    before = sum(sizes_of_all(len(y))[: this_rank()]) * per_row
    return (torch.arange(y.numel()) + before).view_as(y).cos()


def norms() -> dict[str, Any]:
    torch.manual_seed(0)
    found = {}
    for name, norm, shape in (
        ("1d", nn.BatchNorm1d(3), (3,)),
        ("2d", nn.BatchNorm2d(3, momentum=None), (3, 4, 5)),
        ("plain", nn.BatchNorm2d(3, affine=False, track_running_stats=False), (3, 4, 5)),
        ("far from 0", nn.BatchNorm1d(3), (3,)),
    ):
        offset = 1e4 if name == "far from 0" else 0.0
        found[name] = normalised(norm, mine(batch(*shape)) + offset)
    return found


def edges() -> dict[str, Any]:
    """EdgeConv has a normalisation of its own; every rank needs a cloud, so there are 7 for three ranks."""
    torch.manual_seed(0)
    clouds = batch(20, 3)
    own = clouds if rank_count() == 1 else clouds.tensor_split(rank_count())[this_rank()]
    return normalised(EdgeConv(3, 4, k=5), own)


def dropped() -> Tensor:
    network = nn.Sequential(nn.Dropout(0.4))
    synchronise_dropout(network)
    torch.manual_seed(3)
    dropped_out: Tensor = network(mine(batch(6)))
    return dropped_out


def recalibrated() -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.BatchNorm1d(4)).double().eval()
    batches = torch.randn(7, 10, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    if rank_count() > 1:
        synchronise_norms(network)
    recalibrate(network, [(network, batch) for batch in batches[this_rank() :: rank_count()]])
    return dict(network.named_buffers())


def agreements() -> dict[str, Any]:
    rank = this_rank()
    return {
        "from first": from_first(f"of {rank}"),
        "on first": on_first(lambda: rank * 10 + 7),
        "of all": of_all(rank),
        "on any": (on_any(rank == 1), on_any(False)),
        "one machine first": one_machine_first(lambda: rank),
    }


def outcome(work: Any) -> str:
    try:
        return f"fine: {work()}"
    except ToldByAnother as told:
        return f"told {told.status}"
    except (RunError, RecipeError) as error:
        return f"{type(error).__name__}: {error}"


def failures(folder: Path) -> dict[str, str]:
    """What each rank hears of a failure of another."""
    rank = this_rank()
    as_rank()

    def fails(error: Exception) -> Any:
        raise error

    labels = torch.tensor([0, 1], dtype=torch.int32 if rank == 1 else torch.int64)
    recipe = load_recipe("digits", [("loss.lam", "7" if rank == 2 else "5"), ("batch.size", "30")])
    return {
        "fine": outcome(lambda: together(lambda: rank)),
        "one fails": outcome(lambda: together(lambda: fails(RunError("no disk")) if rank == 1 else 3)),
        "all fail": outcome(lambda: together(lambda: fails(RecipeError("wrong")))),
        "labels": outcome(lambda: check_alike(described("the samples", labels, ("a", "b")))),
        "classes": outcome(
            lambda: check_alike(described("the samples", labels.long(), ("a", "b") if rank == 0 else ("a",)))
        ),
        "alike": outcome(lambda: check_alike({"a": 1})),
        "settings": outcome(lambda: run.train(recipe, folder / "never", device="cpu")),
    }


def stopped(folder: Path) -> str:
    """A stop request reaches the last rank only, in the first epoch of a run."""
    as_rank()
    recipe = load_recipe("digits", STOPPED)
    original = StopRequest.listening
    if this_rank() == rank_count() - 1:
        StopRequest.listening = _made  # type: ignore[method-assign]
    try:
        run.train(recipe, folder, device="cpu")
    except RunInterrupted:
        return "interrupted"
    finally:
        StopRequest.listening = original  # type: ignore[method-assign]
    return "finished"


def resumed(folder: Path) -> list[float]:
    as_rank()
    return [
        row.loss for row in run.train(load_recipe("digits", STOPPED), folder, device="cpu", resume=True).rows
    ]


def _made(self: StopRequest, tell: Any) -> Any:
    self.made = True
    return nullcontext()


STOPPED = [
    ("epochs", "2"),
    ("data.limit", "150"),
    ("batch.size", "30"),
    ("evaluation.train_samples", "100"),
    ("model.widths", "[16,8]"),
    ("model.channels", "[4,8]"),
    ("model.batch_norm", "true"),
    ("loss.cross_entropy_weight", "0.2"),
    ("optim.ema", "0.9"),
]


def everything(folder: Path) -> dict[str, Any]:
    """All of the above in one group, as starting it takes seconds."""
    torch.set_num_threads(1)
    done = {
        "numbers": numbers(),
        "norms": norms(),
        "edges": edges(),
        "dropped": dropped(),
        "recalibrated": recalibrated(),
    }
    if rank_count() > 1:
        done |= {"agreements": agreements(), "failures": failures(folder)}
        done["stopped"] = stopped(folder / "stopped")
        done["resumed"] = resumed(folder / "begun by one")
    return done
