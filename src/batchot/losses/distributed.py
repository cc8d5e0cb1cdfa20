"""The loss over all processes of a training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from batchot.losses.backends.rows import Unsolved
from batchot.losses.batch_ot import BatchOTLoss, ClassAnchors
from batchot.losses.problem import (
    Problem,
    Rows,
    at_working_precision,
    check_misplacement,
    check_problem,
    prepare,
    through_norm,
)
from batchot.losses.settings import BatchOTSettings
from batchot.losses.solve import Solved, backend_of, backends_for, closed_loss, solve_rows, untraced
from batchot.ranks import RankError, gather_rows, in_words

_ALL_LABELS = BatchOTSettings(ignore_label=None)
_TYPES: tuple[torch.dtype, ...] = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)


@dataclass(frozen=True)
class Parts:
    """How many rows each process of a group holds."""

    group: dist.ProcessGroup | None
    sizes: tuple[int, ...]
    rank: int

    @property
    def first(self) -> int:
        """The first row of this process among all."""
        return sum(self.sizes[: self.rank])

    @property
    def total(self) -> int:
        """Rows of all processes together."""
        return sum(self.sizes)

    @property
    def own(self) -> slice:
        """The rows of this process among all."""
        return slice(self.first, self.first + self.sizes[self.rank])

    def gather(self, part: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks, without a gradient."""
        return gather_rows(part, self.sizes, self.group)

    def all_rows(self, part: np.ndarray) -> np.ndarray:
        """See :class:`~batchot.losses.backends.rows.Exchange`."""
        return self.gather(self._at(part)).cpu().numpy()

    def sum(self, part: np.ndarray) -> np.ndarray:
        """See :class:`~batchot.losses.backends.rows.Exchange`."""
        total = self._at(part.copy())
        dist.all_reduce(total, group=self.group)
        return total.cpu().numpy()

    def sum_rows(self, part: Tensor) -> Tensor:
        """See :class:`~batchot.losses.backends.rows.Exchange`."""
        total = part.contiguous()
        dist.all_reduce(total, group=self.group)
        return total

    def _at(self, vector: np.ndarray) -> Tensor:
        return torch.from_numpy(vector).to(device_of(self.group))


def device_of(group: dist.ProcessGroup | None) -> torch.device:
    """Where a group's backend wants its tensors."""
    nccl = "nccl" in str(dist.get_backend(group))
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def agree(
    tensors: Sequence[tuple[str, Tensor | None]], error: Exception | None, group: dist.ProcessGroup | None
) -> list[Parts]:
    """Tell all processes what this one brings, and refuse what does not go together."""
    here = torch.tensor(
        [[1, 0, 0, 0, 0] if error is not None else [0, *_description(tensor)] for _, tensor in tensors],
        dtype=torch.int64,
        device=device_of(group),
    )
    everyone = [torch.empty_like(here) for _ in range(dist.get_world_size(group))]
    dist.all_gather(everyone, here, group=group)
    table = torch.stack(everyone).tolist()  # rank, tensor, (failed, given, rows, width, type)
    failed = [rank for rank, of_rank in enumerate(table) if of_rank[0][0]]
    if failed:
        messages: list[str] = [""] * len(table)
        dist.all_gather_object(messages, "" if error is None else in_words(error), group=group)
        if error is not None:
            raise error
        raise RankError(f"rank {failed[0]} was given something that it refused: {messages[failed[0]]}")
    for k, (name, _) in enumerate(tensors):
        for at, what in ((1, "given"), (3, "width"), (4, "type")):
            values = [of_rank[k][at] for of_rank in table]
            for rank, value in enumerate(values):
                if value != values[0]:
                    first, other = (_value_in_words(what, each) for each in (values[0], value))
                    raise RankError(
                        f"{name}: rank 0 brings {first}, rank {rank} {other}. "
                        "All ranks must call the loss with the same arguments and types."
                    )
    rank = dist.get_rank(group)
    return [Parts(group, tuple(of_rank[k][2] for of_rank in table), rank) for k in range(len(tensors))]


def _description(tensor: Tensor | None) -> tuple[int, int, int, int]:
    if tensor is None:
        return 0, 0, 0, 0
    rows, width = (0 if tensor.ndim == 0 else len(tensor)), (tensor.shape[1] if tensor.ndim == 2 else 0)
    return 1, rows, width, _TYPES.index(tensor.dtype) if tensor.dtype in _TYPES else -1


def _value_in_words(what: str, value: int) -> str:
    if what == "given":
        return "some" if value else "none"
    return str(_TYPES[value]) if what == "type" else f"{value} columns"


class DistributedLoss(nn.Module):
    r"""The loss of the batch that all processes hold together, as if one process had it.

    Process p holds the rows X_p (n_p, d), which may differ in number. With X = (X_1, ..., X_P) every process returns
    L(X), and its gradient is scaled so that the mean over processes of the gradients of the weights, which is what
    DistributedDataParallel makes, is that of L(X):

    .. math:: \frac{1}{P} \sum_p \Big(\frac{\partial X_p}{\partial \theta}\Big)^\top \, P \,
              \frac{\partial L(X)}{\partial X_p} = \frac{\partial L(X)}{\partial \theta}

    For :class:`~batchot.BatchOTLoss` only embeddings and labels are sent, once, and then a vector of N numbers for each
    step of Sinkhorn's iteration: every process holds its rows of the transport problem, and none the n x n matrices.
    Any other loss, such as one of pytorch-metric-learning with a memory or proxies, is computed by every process on
    the gathered batch; a memory then is the same in all of them.

    Outside a process group it is the loss itself.

    Args:
        loss: called as ``loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)``
        group: the processes; None: all
        average: whether gradients are averaged over processes afterwards (DistributedDataParallel); False: summed

    Raises:
        RankError: (a ValueError, in every process) types, widths or what is given differ between processes, or another
            process refused its input

    Example:
        >>> import torch
        >>> from batchot import BatchOTLoss, DistributedLoss
        >>> loss = DistributedLoss(BatchOTLoss())  # here a single process
        >>> loss(torch.eye(4), torch.tensor([0, 0, 1, 1])) > 0
        tensor(True)
    """

    def __init__(self, loss: nn.Module, group: dist.ProcessGroup | None = None, average: bool = True) -> None:
        super().__init__()
        self.loss = loss
        self.group = group
        self.average = average

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """The loss of the whole batch, of which these are the rows of this process (both batches of it).

        indices_tuple counts rows of the whole batch, and must be the same in all processes.
        """
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size(self.group) == 1:
            return _call(self.loss, embeddings, labels, indices_tuple, ref_emb, ref_labels)
        return self._in_group(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    @untraced
    def _in_group(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Sequence[Tensor] | None,
        ref_emb: Tensor | None,
        ref_labels: Tensor | None,
    ) -> Tensor:
        if ref_emb is embeddings:
            ref_emb, ref_labels = None, None
        if isinstance(self.loss, BatchOTLoss) and self.loss.anchors is not None and labels is not None:
            anchors: ClassAnchors | None = self.loss.anchors
        else:
            anchors = None
        settings = self.loss.settings if isinstance(self.loss, BatchOTLoss) else _ALL_LABELS
        problem = Problem(embeddings, labels, ref_emb, ref_labels, None, settings)
        error: Exception | None = None
        try:
            problem = check_problem(embeddings, labels, indices_tuple, ref_emb, ref_labels, settings)
            if anchors is not None and problem.labels is not None and len(problem.labels) > 0:
                anchors.check(problem.x, problem.labels)
        except Exception as refused:  # also what is no tensor: whatever stops this process stops all
            error = refused
        given = (
            ("embeddings", problem.x),
            ("labels", problem.labels),
            ("ref_emb", problem.y),
            ("ref_labels", problem.y_labels),
        )
        of_x, _, of_y, _ = agree(given, error, self.group)
        second = None if problem.y is None else of_y
        whole = Problem(
            of_x.gather(problem.x),
            None if problem.labels is None else of_x.gather(problem.labels),
            None if problem.y is None else of_y.gather(problem.y),
            None if problem.y_labels is None else of_y.gather(problem.y_labels),
            indices_tuple,
            settings,
        )
        value = None
        if isinstance(self.loss, BatchOTLoss):
            whole = replace(whole, distance=self.loss.distance)
            # in every process alike: the general solver needs the whole problem
            if backend_of(whole, "ranks") != "general":
                with suppress(Unsolved):
                    value = self._by_rows(self.loss, problem, whole, of_x, second)
        if value is None:
            value = self._everywhere(problem, whole, of_x, second)
        scaled: Tensor = _ScaledGradient.apply(value, 1.0 if self.average else 1.0 / len(of_x.sizes))
        return scaled

    def _by_rows(
        self, loss: BatchOTLoss, here: Problem, whole: Problem, of_x: Parts, of_y: Parts | None
    ) -> Tensor:
        """Every process solves its rows of the one problem."""
        assert here.labels is not None and whole.labels is not None
        # here, so that a gradient is scaled before it is rounded to 16 bits, as that of one process is
        own_x = at_working_precision(here.x)
        own_y = None if here.y is None else at_working_precision(here.y)
        if whole.y is None or of_y is None:
            columns = _Columns(whole.x, whole.labels, of_x, None)
        else:
            assert whole.y_labels is not None
            columns = _Columns(whole.y, whole.y_labels, of_x, of_y)
        if loss.anchor_weight < 1:
            own = columns.loss(own_x, own_y, here.labels, whole)
        if loss.anchors is None:
            return own
        x, labels, parts = own_x, here.labels, of_x
        if own_y is not None and here.y_labels is not None and of_y is not None:
            x, labels = torch.cat([x, own_y]), torch.cat([labels, here.y_labels])
            both = tuple(map(sum, zip(of_x.sizes, of_y.sizes, strict=True)))
            parts = Parts(of_x.group, both, of_x.rank)
        points, classes = loss.anchors.points.to(x), loss.anchors.labels.to(x.device)
        to_points = 2 * _Columns(points, classes, parts, None, fixed=True).loss(x, None, labels, whole)
        if loss.anchor_weight == 1:
            return to_points
        return (1 - loss.anchor_weight) * own + loss.anchor_weight * to_points

    def _everywhere(self, here: Problem, whole: Problem, of_x: Parts, of_y: Parts | None) -> Tensor:
        """The loss of the gathered batch, of which the rows of this process have a gradient."""
        x = _put(whole.x, here.x, of_x)
        y = None if whole.y is None or here.y is None or of_y is None else _put(whole.y, here.y, of_y)
        return _call(self.loss, x, whole.labels, whole.pairs, y, whole.y_labels)


@dataclass(frozen=True)
class _Columns:
    """What the rows of all processes stand against."""

    points: Tensor  # raw embeddings of all processes, or points that all have
    labels: Tensor
    of_x: Parts  # of the rows
    of_y: Parts | None  # of the columns of a second batch; None: the batch against itself
    fixed: bool = False  # points that no process owns and that do not move

    def loss(self, x: Tensor, y: Tensor | None, labels: Tensor, whole: Problem) -> Tensor:
        """L of the whole problem, with the gradient on x and y, the rows of this process, times the processes."""
        return closed_loss(x, y, labels, None, partial(self._solve, whole))

    def _solve(
        self, whole: Problem, x: Tensor, y: Tensor | None, labels: Tensor, y_labels: None, need_grad: bool
    ) -> Solved:
        settings, of_x, of_y = whole.settings, self.of_x, self.of_y
        itself = of_y is None and not self.fixed
        points = at_working_precision(self.points)
        centre: Tensor | None = None
        if not settings.normalize and not itself:
            total = of_x.sum(x.sum(0, dtype=torch.float64).cpu().numpy())
            centre = torch.from_numpy(total).to(points) / of_x.total
        points, norm, _ = prepare(points, settings.normalize, centre)
        if itself:
            own, own_norm = points[of_x.own], None if norm is None else norm[of_x.own]
        else:
            own, own_norm, _ = prepare(x.to(points.dtype), settings.normalize, centre)
        rows = Rows(own, points, labels, self.labels, of_x.first if itself else None, of_x.total, settings)
        pairs, double = len(whole.x) * len(whole.columns), points.dtype == torch.float64
        backend = backends_for(points.device.type, double, "ranks", pairs, len(own) * len(points))[0]
        # every process has to take part in the sum of the columns' gradient, or none
        solved = solve_rows(rows, backend, of_x, need_grad, of_y is not None)
        check_misplacement(solved.loss, x)
        factor = float(len(of_x.sizes))
        grad_x = None if solved.grad_x is None else through_norm(solved.grad_x, own, own_norm).mul_(factor)
        grad_y = None
        if y is not None and of_y is not None and solved.grad_y is not None:
            part = of_y.own
            own_y_norm = None if norm is None else norm[part]
            grad_y = through_norm(solved.grad_y[part].clone(), points[part], own_y_norm).mul_(factor)
        return torch.tensor(solved.loss, dtype=points.dtype, device=x.device), grad_x, grad_y


class _ScaledGradient(torch.autograd.Function):
    """The same value, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


def _put(whole: Tensor, own: Tensor, parts: Parts) -> Tensor:
    """All rows, of which those of this process have a gradient, times the number of processes."""
    own = _ScaledGradient.apply(own, float(len(parts.sizes)))
    return torch.cat([whole[: parts.own.start], own, whole[parts.own.stop :]])


def _call(
    loss: nn.Module, embeddings: Tensor, labels: Tensor | None, pairs: Sequence[Tensor] | None, *second: Any
) -> Tensor:
    """Call a loss with no more arguments than there are: not all losses take pairs or a second batch."""
    given = (pairs, *second) if second[0] is not None else () if pairs is None else (pairs,)
    value: Tensor = loss(embeddings, labels, *given)
    return value
