"""Which samples of several towers go into which batch, so that all of them show the same classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from batchot.data.samplers import Groups, Sources, draw_by_share, draw_in_turns, drawn_once, grouped
from batchot.data.seeding import generator_for

_NONE: Mapping[str, int] = MappingProxyType({})


class PairedBatches:
    """Batches in which every tower has samples of the same classes, so that each finds its counterparts.

    As in :class:`~batchot.data.BalancedBatches`, classes take turns over the batches of an epoch, and so do
    the samples of a class in each tower; no sample is twice in a batch unless its class is smaller than its
    share. Within a batch the classes alternate (a, b, c, a, b, c, ...), so a class has equally many samples as
    any other, give or take one where the size is no multiple of ``classes_per_batch``, and each half of a
    tower's batch is balanced, too. The towers have the classes in the same order.

    An epoch is over when the first tower has been seen about once: its paired samples divided by its size,
    rounded, are the number of batches.

    Args:
        labels: for each tower, class of each of its samples, int64, shape ``(n,)``; the labels mean the same in
            all towers. The first tower is the one whose samples make an epoch.
        sizes: for each tower, its paired samples in a batch, at least ``classes_per_batch``.
        classes_per_batch: different classes in a batch, at most as many as ``allowed``.
        allowed: classes that are paired; by default all of which every tower has samples.
        extra: for some towers, further samples in each batch, of classes that are not ``allowed``; they have no
            counterpart in the batch and push it away. Half of them are in each half of the batch.
        batches: in an epoch, where that is not to depend on the first tower.
        sources: for some towers, where the samples of a class are drawn by shares. An epoch is then as long as it
            takes to see each sample of the first source of its class about once.

    Raises:
        ValueError: on towers that differ, labels that are not vectors, sizes that do not fit, a class that is
            missing in a tower, further samples of a tower that has no other classes.

    Example:
        >>> import torch
        >>> from batchot.data import PairedBatches
        >>> labels = {"sketch": torch.tensor([0, 0, 0, 1, 1, 1]), "shape": torch.tensor([1, 1, 0, 0, 2, 2])}
        >>> batches = PairedBatches(labels, {"sketch": 2, "shape": 4}, classes_per_batch=2, extra={"shape": 1})
        >>> [{tower: labels[tower][index].sort().values.tolist() for tower, index in batch.items()}
        ...  for batch in batches.epoch(seed=0, epoch=0)]  # doctest: +NORMALIZE_WHITESPACE
        [{'sketch': [0, 1], 'shape': [0, 0, 1, 1, 2]},
         {'sketch': [0, 1], 'shape': [0, 0, 1, 1, 2]},
         {'sketch': [0, 1], 'shape': [0, 0, 1, 1, 2]}]
    """

    def __init__(
        self,
        labels: Mapping[str, Tensor],
        sizes: Mapping[str, int],
        classes_per_batch: int,
        *,
        allowed: Collection[int] | None = None,
        extra: Mapping[str, int] | None = None,
        batches: int | None = None,
        sources: Mapping[str, Sources | None] = MappingProxyType({}),
    ) -> None:
        if batches is not None and batches < 1:
            raise ValueError(f"batches must be at least 1, got {batches}")
        self.batches = batches
        extra = extra or _NONE
        _check_towers(labels, sizes, extra)
        present = {tower: set(of_tower.unique().tolist()) for tower, of_tower in labels.items()}
        self.allowed = _allowed_classes(present, allowed)
        if not 1 <= classes_per_batch <= len(self.allowed):
            raise ValueError(
                f"classes_per_batch must lie in 1 .. {len(self.allowed)}, the number of classes that every "
                f"tower has, got {classes_per_batch}"
            )
        self.sizes = {tower: sizes[tower] for tower in labels}
        self.extra = {tower: extra.get(tower, 0) for tower in labels}
        self.classes_per_batch = classes_per_batch
        self._paired = {
            tower: [grouped(torch.where(of_tower == label)[0], sources.get(tower)) for label in self.allowed]
            for tower, of_tower in labels.items()
        }
        self._others = {
            tower: [
                grouped(torch.where(of_tower == label)[0], sources.get(tower))
                for label in sorted(present[tower] - set(self.allowed))
            ]
            for tower, of_tower in labels.items()
        }
        for tower in labels:
            if self.sizes[tower] < classes_per_batch:
                raise ValueError(
                    f"{self.sizes[tower]} samples of {tower} in a batch cannot show {classes_per_batch} classes; "
                    "raise its size or lower classes_per_batch"
                )
            if self.extra[tower] < 0 or (self.extra[tower] and not self._others[tower]):
                raise ValueError(
                    f"extra must be at least 0, and 0 for {tower} where all of its classes are paired, "
                    f"got {self.extra[tower]}"
                )

    def __len__(self) -> int:
        if self.batches is not None:
            return self.batches
        first = next(iter(self.sizes))
        n = sum(drawn_once(members) for members in self._paired[first])
        return max(1, round(n / self.sizes[first]))

    def epoch(self, seed: int, epoch: int) -> tuple[dict[str, Tensor], ...]:
        """Indices of the samples of each tower in each batch of an epoch, int64, shape ``(size + extra,)``."""
        generator = generator_for("paired classes", seed, epoch)
        lengths = torch.full((len(self),), self.classes_per_batch)
        turns = draw_in_turns(torch.arange(len(self.allowed)), lengths, generator).view(len(self), -1)
        drawn = {tower: self._draw(tower, turns, seed, epoch) for tower in self.sizes}
        return tuple({tower: batches[k] for tower, batches in drawn.items()} for k in range(len(self)))

    def _draw(self, tower: str, turns: Tensor, seed: int, epoch: int) -> Tensor:
        """All batches of a tower, ``(batches, size + extra)``; ``turns`` are the classes of each, in order."""
        # A generator for each tower, so that its batches do not depend on the sizes of the others.
        generator = generator_for(f"paired batches, {tower}", seed, epoch)
        size, extra = self.sizes[tower], self.extra[tower]
        order = turns[:, torch.arange(size) % self.classes_per_batch]  # (batches, size): class at each place
        paired = _members_in_turns(self._paired[tower], order, generator)
        if not extra:
            return paired
        lengths = torch.full((len(turns),), extra)
        classes = draw_in_turns(torch.arange(len(self._others[tower])), lengths, generator)
        others = _members_in_turns(self._others[tower], classes.view(len(turns), extra), generator)
        paired_first, others_first = (size + extra) // 2 - extra // 2, extra // 2
        return torch.cat(
            [
                paired[:, :paired_first], others[:, :others_first],
                paired[:, paired_first:], others[:, others_first:],
            ],
            dim=1,
        )  # fmt: skip


def _members_in_turns(members: list[Groups], order: Tensor, generator: torch.Generator) -> Tensor:
    """A sample of the class that ``order`` ``(batches, k)`` has at each place."""
    batches = torch.empty_like(order)
    for c, of_class in enumerate(members):
        here = order == c
        batches[here] = draw_by_share(of_class, here.sum(1), generator)
    return batches


def _check_towers(labels: Mapping[str, Tensor], sizes: Mapping[str, int], extra: Mapping[str, int]) -> None:
    if not labels or set(labels) != set(sizes) or not set(extra) <= set(labels):
        raise ValueError(
            f"the towers of labels ({', '.join(labels)}), sizes ({', '.join(sizes)}) and extra "
            f"({', '.join(extra)}) must be the same"
        )
    for tower, of_tower in labels.items():
        if of_tower.ndim != 1:
            raise ValueError(f"labels of {tower} must have shape (n,), got {tuple(of_tower.shape)}")


def _allowed_classes(present: Mapping[str, set[int]], allowed: Collection[int] | None) -> tuple[int, ...]:
    if allowed is None:
        return tuple(sorted(set.intersection(*present.values())))
    for tower, classes in present.items():
        if missing := sorted(set(allowed) - classes):
            raise ValueError(f"{tower} has no samples of the allowed classes {missing}; leave them out")
    return tuple(sorted(set(allowed)))
