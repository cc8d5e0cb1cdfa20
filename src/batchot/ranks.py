"""What the processes of one training do together: numbers, rows and decisions that are the same on all of them.

The processes are the ranks 0 .. N - 1 of torch.distributed's default group. Outside of one there is a single rank,
and everything here is what it is without.

Gradients follow the convention of DistributedDataParallel, which averages those of the parameters over the ranks:
what a rank back-propagates here is N times its share, so that the average is the gradient of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

T = TypeVar("T")


class RankError(ValueError):
    """What one rank has or does stops all of them; every other rank raises this, naming it."""


def in_words(error: Exception) -> str:
    """The message of an error, with its type where that says more."""
    text = str(error)
    return text if text and isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def rank_count() -> int:
    """Number of ranks, N; 1 outside of a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def this_rank() -> int:
    """Number of this rank, 0 .. N - 1."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def from_first(value: T) -> T:
    """What the first rank has: any value that can be pickled."""
    if rank_count() == 1:
        return value
    box = [value if this_rank() == 0 else None]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    found: Any = box[0]
    return found


def on_first(work: Callable[[], T]) -> T:
    """Do something on the first rank, and give all of them what comes of it."""
    if rank_count() == 1:
        return work()
    result: T | None = None
    error: Exception | None = None
    if this_rank() == 0:
        try:
            result = work()
        except Exception as failed:
            error = failed
    result, message = from_first((result, None if error is None else in_words(error)))
    if error is not None:
        raise error
    if message is not None:
        raise RankError(f"rank 0: {message}")
    return result  # type: ignore[return-value]


def of_all(value: T) -> list[T]:
    """What each rank has, by rank: values that can be pickled."""
    if rank_count() == 1:
        return [value]
    found: list[Any] = [None] * rank_count()
    dist.all_gather_object(found, value)
    return found


def on_any(flag: bool) -> bool:
    """Whether this is so on any rank."""
    if rank_count() == 1:
        return flag
    flags = torch.tensor([int(flag)], device="cpu")  # on the CPU, where nothing waits for a GPU
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags)


def sizes_of_all(n: int) -> list[int]:
    """A number that each rank has, by rank."""
    if rank_count() == 1:
        return [n]
    found = torch.zeros(rank_count(), dtype=torch.int64, device="cpu")
    found[this_rank()] = n
    dist.all_reduce(found)
    sizes: list[int] = found.tolist()
    return sizes


def rows_of_all(x: Tensor) -> Tensor:
    """The rows of all ranks, one rank after the other, differentiable."""
    if rank_count() == 1:
        return x
    rows: Tensor = _Rows.apply(x)
    return rows


def gather_rows(part: Tensor, sizes: Sequence[int], group: dist.ProcessGroup | None = None) -> Tensor:
    """The rows of all ranks of a group, one rank after the other, without a gradient."""
    part, longest = part.detach().contiguous(), max(sizes)
    if len(part) < longest:  # gloo and NCCL want equal lengths
        part = torch.cat([part, part.new_zeros(longest - len(part), *part.shape[1:])])
    parts = [torch.empty_like(part) for _ in sizes]
    dist.all_gather(parts, part, group=group)
    return torch.cat([each[:size] for each, size in zip(parts, sizes, strict=True)])


def mean_of_all(total: Tensor, count: int) -> Tensor:
    """The mean of what is spread over all ranks, differentiable: sum of the totals over the sum of the counts."""
    if rank_count() == 1:
        return total / count
    mean: Tensor = _Mean.apply(total, count)
    return mean


def sum_of_all(x: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, differentiable also where each rank goes on with it in its own way."""
    if rank_count() == 1:
        return x
    total: Tensor = _Sum.apply(x)
    return total


class _Sum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class _Rows(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        sizes = sizes_of_all(len(x))
        ctx.rank, ctx.sizes = this_rank(), sizes
        return gather_rows(x, sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].split(ctx.sizes)[ctx.rank] * len(ctx.sizes)


class _Mean(Function):
    @staticmethod
    def forward(ctx: Any, total: Tensor, count: int) -> Tensor:
        both = torch.stack([total.detach().double(), total.new_tensor(count, dtype=torch.float64)])
        dist.all_reduce(both)
        ctx.factor = float(rank_count()) / both[1]
        return (both[0] / both[1]).to(total.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor.to(gradients[0].dtype), None
