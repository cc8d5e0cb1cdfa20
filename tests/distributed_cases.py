"""Losses that one process and several are to agree on; run in the processes of tests/losses/test_distributed.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from pytorch_metric_learning import losses as pml
from torch import Tensor, nn

from batchot import BatchOTLoss, DistributedLoss
from batchot.losses import distributed, solve
from batchot.losses.backends.rows import Weighed
from batchot.losses.problem import Rows
from batchot.pml import BatchOTLoss as PMLBatchOTLoss

WIDTH = 12


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    sizes: tuple[int, ...] = (
        17,
        11,
        20,
        9,
    )  # rows of each process; of two, the first and the sum of the others
    second: tuple[int, ...] | None = None  # rows of the second batch
    dtype: torch.dtype = torch.float32
    labels: Callable[[Tensor], Tensor] = field(default=lambda labels: labels)


CASES: dict[str, Case] = {
    "default": Case(BatchOTLoss),
    "large lam": Case(lambda: BatchOTLoss(lam=20.0, gamma=5.0, margin=1.5)),
    "uniform": Case(lambda: BatchOTLoss(plan="uniform", pos_margin=0.1)),
    "raw distances": Case(lambda: BatchOTLoss(normalize=False, margin=30.0, gamma=0.1)),
    "double": Case(BatchOTLoss, dtype=torch.float64),
    "half": Case(BatchOTLoss, dtype=torch.bfloat16),
    "one row": Case(BatchOTLoss, sizes=(1, 30, 1, 2)),
    "strings of labels": Case(BatchOTLoss, labels=lambda labels: labels * 2**40),
    "two batches": Case(BatchOTLoss, second=(5, 30, 8, 1)),
    "two batches, raw": Case(
        lambda: BatchOTLoss(normalize=False, margin=30.0, gamma=0.1), second=(9, 3, 8, 7)
    ),
    "two batches, uniform": Case(lambda: BatchOTLoss(plan="uniform"), second=(5, 30, 8, 1)),
    "two batches, hard": Case(lambda: BatchOTLoss(lam=20.0, gamma=1.0), second=(5, 30, 8, 1)),
    "anchors": Case(lambda: BatchOTLoss(num_classes=5, embedding_size=WIDTH, anchor_weight=0.4)),
    "anchors alone": Case(lambda: BatchOTLoss(num_classes=5, embedding_size=WIDTH, anchor_weight=1.0)),
    "anchors, two batches": Case(
        lambda: BatchOTLoss(num_classes=5, embedding_size=WIDTH), second=(5, 30, 8, 1)
    ),
    "implicit": Case(lambda: BatchOTLoss(grad="implicit")),  # the general path, in every process
    "beyond the kernels": Case(lambda: BatchOTLoss(lam=200.0)),
    "supcon": Case(pml.SupConLoss),
    "contrastive, two batches": Case(pml.ContrastiveLoss, second=(5, 30, 8, 1)),
    "memory": Case(lambda: pml.CrossBatchMemory(PMLBatchOTLoss(), WIDTH, memory_size=100)),
}


@dataclass(frozen=True)
class Result:
    values: list[float]
    grads: list[Tensor]
    state: dict[str, Tensor]


def rows_of(sizes: tuple[int, ...], world: int) -> list[slice]:
    """The rows of each process."""
    if world == 2:
        sizes = (sizes[0], sum(sizes[1:]))
    edges = [0, *torch.tensor(sizes).cumsum(0).tolist()]
    return [slice(a, b) for a, b in pairwise(edges)] if world > 1 else [slice(0, edges[-1])]


def data_of(case: Case) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Embeddings and labels of all processes."""
    generator = torch.Generator().manual_seed(5)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(0, 5, (n,), generator=generator)
        x = torch.randn(n, WIDTH, generator=generator) + 0.7 * torch.eye(5, WIDTH)[labels]
        return x.to(case.dtype), case.labels(labels)

    second = (None, None) if case.second is None else draw(sum(case.second))
    return *draw(sum(case.sizes)), *second


def result_of(name: str, average: bool = True, steps: int = 2) -> Result:
    """Losses and gradients on the rows of this process, of one call after another (a memory changes in between)."""
    case, (x, labels, y, y_labels) = CASES[name], data_of(CASES[name])
    world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    torch.manual_seed(0)
    loss: Any = case.make()
    loss = DistributedLoss(loss, average=average) if world > 1 else loss
    part = rows_of(case.sizes, world)[rank]
    x, labels = x[part].clone().requires_grad_(), labels[part]
    leaves = [x]
    arguments: tuple[Any, ...] = (x, labels)
    if y is not None and y_labels is not None and case.second is not None:
        part = rows_of(case.second, world)[rank]
        y = y[part].clone().requires_grad_()
        leaves.append(y)
        arguments = (x, labels, None, y, y_labels[part])
    values, grads = [], []
    for _ in range(steps):
        value = loss(*arguments)
        values.append(value.item())
        grads += torch.autograd.grad(value, leaves)
    state = {k.removeprefix("loss."): v.clone() for k, v in loss.state_dict().items()}
    if hasattr(case.make(), "embedding_memory"):
        memory = loss.loss if world > 1 else loss
        state = {"memory": memory.embedding_memory.clone(), "labels": memory.label_memory.clone()}
    return Result(values, grads, state)


def all_cases() -> dict[str, Result]:
    return {name: result_of(name) for name in CASES}


def other_ways() -> dict[str, Any]:
    """Gradients for a sum over processes; rows that are never stored; wrong input; a network under DDP."""
    results: dict[str, Any] = {"summed": result_of("default", average=False)}
    solve.TABLE = tuple(case._replace(held=0) for case in solve.TABLE)  # tiles; this process ends after this
    for name in TILED:
        results[f"tiled {name}"] = result_of(name)
    with unsolved_counted() as counted:
        result_of("default")
        results["rows"] = counted[:]
    results["refused"] = {what: refused(arguments) for what, arguments in wrong_input().items()}
    results["network"] = gradients_of_a_network()
    return results


TILED = ("default", "two batches", "uniform", "anchors", "two batches, uniform")


@contextmanager
def unsolved_counted() -> Iterator[list[int]]:
    """How many rows this process solves, a call after another."""
    counted: list[int] = []
    solve_rows = distributed.solve_rows

    def counting(rows: Rows, *others: Any) -> Weighed:
        counted.append(len(rows.x))
        return solve_rows(rows, *others)

    distributed.solve_rows = counting
    try:
        yield counted
    finally:
        distributed.solve_rows = solve_rows


def wrong_input() -> dict[str, tuple[Any, ...]]:
    """What rank 1 brings is not right, or not what rank 0 brings."""
    odd = dist.get_rank() == 1
    x, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    return {
        "type of labels": (x, labels.float() if odd else labels),
        "width": (torch.eye(4, 5) if odd else x, labels),
        "second batch": (x, labels, None, x + 1, labels) if odd else (x, labels),
        "NaN": (x * float("nan") if odd else x, labels),
        "empty": (x[:0], labels[:0]) if odd else (x, labels),
    }


def refused(arguments: tuple[Any, ...]) -> str:
    try:
        DistributedLoss(BatchOTLoss())(*arguments)
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def gradients_of_a_network() -> list[Tensor]:
    """Of a network that DistributedDataParallel averages, or of one process."""
    torch.manual_seed(1)
    network: nn.Module = nn.Sequential(nn.Linear(WIDTH, 9), nn.Tanh(), nn.Linear(9, 6))
    x, labels, _, _ = data_of(CASES["default"])
    loss: nn.Module = BatchOTLoss()
    if dist.is_initialized():
        part = rows_of(CASES["default"].sizes, dist.get_world_size())[dist.get_rank()]
        x, labels = x[part], labels[part]
        network, loss = nn.parallel.DistributedDataParallel(network), DistributedLoss(loss)
    loss(network(x), labels).backward()
    return [p.grad for p in network.parameters() if p.grad is not None]
