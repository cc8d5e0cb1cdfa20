"""What the processes of a group tell each other: whose rows are whose, and vectors of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from batchot.ranks import RankError, gather_rows, in_words

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
        """See :class:`~batchot.losses.blocks.Exchange`."""
        return self.gather(self._at(part)).cpu().numpy()

    def sum(self, part: np.ndarray) -> np.ndarray:
        """See :class:`~batchot.losses.blocks.Exchange`."""
        total = self._at(part.copy())
        dist.all_reduce(total, group=self.group)
        return total.cpu().numpy()

    def sum_rows(self, part: Tensor) -> Tensor:
        """See :class:`~batchot.losses.blocks.Exchange`."""
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
    """Tell all processes what this one brings, and refuse what does not go together.

    Args:
        tensors: names and tensors whose rows are to be gathered; a None must be None in all processes
        error: what this process found wrong with its own input, if anything: all processes have to stop, or the
            others would wait for its rows for ever

    Returns:
        Who holds how many rows, for each of the tensors.

    Raises:
        Exception: ``error``, in the process that brought it
        RankError: another process brought one; widths, types or what is given differ between processes
    """
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
