"""Two sets of samples as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from batchot.data.errors import DataError
from batchot.data.labels import check_labels
from batchot.data.partial import fresh_batch
from batchot.data.samplers import Sources
from batchot.data.samples import Samples


@dataclass(frozen=True, eq=False)
class Joined:
    """The samples of one set, then those of another: same classes, same shape.

    Args:
        first: its samples come first.
        second: its samples come after them.
        labels: index into ``classes`` of each sample; ``None``: as the two sets have them.
        classes: name of each class; empty: as the two sets have them.
        at: which of the samples of both, in which order, int64, shape ``(n,)``; ``None``: all.
        sources: by which shares samplers are to draw from the sets; ``None``: all samples are alike to them.

    Raises:
        DataError: when the two differ in classes or in the shape of a sample.

    Example:
        >>> from batchot.data import load_digits
        >>> from batchot.data.joined import Joined
        >>> digits = load_digits()
        >>> both = Joined(digits.train, digits.test)
        >>> len(both), both.batch(torch.tensor([0, 1796])).shape
        (1797, torch.Size([2, 1, 8, 8]))
    """

    first: Samples
    second: Samples
    labels: Tensor = None  # type: ignore[assignment]  # (n,) int64
    classes: tuple[str, ...] = ()
    at: Tensor | None = None  # (n,) int64
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
        """The same, what is known as strokes being drawn anew, see :func:`~batchot.data.partial.fresh_batch`."""
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
    """Several sets as one, from which samplers draw by the shares of each.

    Args:
        parts: sets of the same classes and shape; the first is the one that is to be seen once in an epoch.
        shares: of the samples that are drawn, one for each set.

    Raises:
        DataError: when two sets differ in classes or in the shape of a sample.

    Example:
        >>> from batchot.data import load_digits
        >>> from batchot.data.joined import mix
        >>> digits = load_digits()
        >>> both = mix([digits.train, digits.test], [1.0, 0.5])
        >>> len(both), both.sources.shares
        (1797, (1.0, 0.5))
    """
    joined: Samples = reduce(Joined, parts)
    if not isinstance(joined, Joined):
        return joined
    of = torch.cat([torch.full((len(part),), k) for k, part in enumerate(parts)])
    return replace(joined, sources=Sources(of, tuple(float(share) for share in shares)))


def sources_of(samples: Samples) -> Sources | None:
    """Which source each of the samples is of, where they are mixed; None otherwise."""
    return samples.sources if isinstance(samples, Joined) else None
