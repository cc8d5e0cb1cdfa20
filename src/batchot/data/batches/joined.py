"""Two sets of samples as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from batchot.data.augment.strokes import fresh_batch
from batchot.data.batches.samplers import Sources
from batchot.data.labels import check_labels
from batchot.data.samples import Samples
from batchot.errors import DataError


@dataclass(frozen=True, eq=False)
class Joined:
    """The samples of one set, then those of another: same classes, same shape."""

    first: Samples  # its samples come first
    second: Samples  # its samples come after them
    labels: Tensor = None  # type: ignore[assignment]  # (n,) int64
    classes: tuple[str, ...] = ()  # name of each class; empty: as the two sets have them
    at: Tensor | None = None  # (n,) int64
    # by which shares samplers are to draw from the sets; ``None``: all samples are alike to them
    sources: Sources | None = None

    def __post_init__(self) -> None:
        first, second = self.first, self.second
        if first.sample_shape != second.sample_shape:
            raise DataError(
                f"samples of {first.sample_shape} and of {second.sample_shape} cannot be joined; they must agree"
            )
        if self.labels is None:
            if first.classes != second.classes:
                raise DataError(f"classes differ and cannot be joined: {first.classes}, {second.classes}")
            object.__setattr__(self, "labels", torch.cat([first.labels, second.labels]))
            object.__setattr__(self, "classes", first.classes)
        check_labels(self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """What each sample is called, empty where one of the sets has no names."""
        if not (self.first.names and self.second.names):
            return ()
        both = self.first.names + self.second.names
        return both if self.at is None else tuple(both[k] for k in self.at.tolist())

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.first.sample_shape

    def batch(self, indices: Tensor) -> Tensor:
        """The samples at ``indices`` (int64, ``(b,)``), shape ``(b, *sample_shape)``."""
        return self._from_both(indices, lambda samples, at: samples.batch(at))

    def draw(self, indices: Tensor, generator: torch.Generator, partial: float = 0.0) -> Tensor:
        """The same, with known strokes drawn anew by :func:`~batchot.data.augment.strokes.fresh_batch`."""
        return self._from_both(indices, lambda samples, at: fresh_batch(samples, at, generator, partial))

    def _from_both(self, indices: Tensor, read: Callable[[Samples, Tensor], Tensor]) -> Tensor:
        indices = indices if self.at is None else self.at[indices]
        n = len(self.first)
        late = indices >= n
        if not bool(late.any()):
            return read(self.first, indices)
        if bool(late.all()):
            return read(self.second, indices - n)
        parts = (read(self.first, indices[~late]), read(self.second, indices[late] - n))
        out = parts[0].new_empty((len(indices), *parts[0].shape[1:]))
        out[~late], out[late] = parts
        return out

    def subset(self, indices: Tensor) -> Joined:
        """The samples at ``indices`` (int64, ``(k,)``), in that order."""
        at = indices if self.at is None else self.at[indices]
        sources = None if self.sources is None else replace(self.sources, of=self.sources.of[indices])
        return replace(self, labels=self.labels[indices], at=at, sources=sources)


def mix(parts: Sequence[Samples], shares: Sequence[float]) -> Samples:
    """Several sets as one, from which samplers draw by the shares of each."""
    joined: Samples = reduce(Joined, parts)
    if not isinstance(joined, Joined):
        return joined
    of = torch.cat([torch.full((len(part),), k) for k, part in enumerate(parts)])
    return replace(joined, sources=Sources(of, tuple(float(share) for share in shares)))


def sources_of(samples: Samples) -> Sources | None:
    """Which source each of the samples is of, where they are mixed; None otherwise."""
    return samples.sources if isinstance(samples, Joined) else None
