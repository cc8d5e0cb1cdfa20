"""Batches of two modalities with classes in common."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from batchot.data.batches.loader import Preparation, ResumableBatches
from batchot.data.batches.samplers import (
    Groups,
    Sources,
    draw_by_share,
    draw_in_turns,
    drawn_once,
    generator_for,
    grouped,
)
from batchot.data.samples import WHOLE, Samples, Share, Splits
from batchot.data.sets.shape_files import shorten
from batchot.errors import DataError

Renaming = Mapping[str, Mapping[str, str]]
_NO_RENAMING: Renaming = MappingProxyType({})


@dataclass(frozen=True)
class Paired:
    """Data sets of several towers with common classes."""

    classes: tuple[str, ...]  # of all towers together, after renaming, in alphabetical order
    parts: dict[str, Splits[Samples]]  # of each tower, the labels being indices into ``classes``
    # classes of which every tower has training samples; these are learnt from in pairs
    shared: tuple[str, ...]
    # for each tower, the other classes of its samples, which are distractors
    only: dict[str, tuple[str, ...]]

    @property
    def shared_labels(self) -> tuple[int, ...]:
        return tuple(self.classes.index(name) for name in self.shared)

    @property
    def near_misses(self) -> tuple[tuple[str, str, str, str], ...]:
        """Classes that differ in case or separators only: (tower, class, other tower, its class) of each."""
        return tuple(_near_misses(self.only))


def pair_classes(splits: Mapping[str, Splits[Any]], rename: Renaming = _NO_RENAMING) -> Paired:
    """Give several data sets common classes: those of the same name, after renaming, are the same."""
    if len(splits) < 2:
        raise ValueError(f"classes are paired between two towers or more, got {len(splits)}")
    if unknown := [tower for tower in rename if tower not in splits]:
        raise DataError(
            f"cannot rename classes of {', '.join(unknown)}: the towers are {', '.join(splits)}"
            f"{closest(unknown[0], tuple(splits))}"
        )
    new_names = {
        tower: renamed(tower, part.train.classes, rename.get(tower, {})) for tower, part in splits.items()
    }
    classes = tuple(sorted({name for names in new_names.values() for name in names}))
    parts = {tower: relabelled(part, new_names[tower], classes) for tower, part in splits.items()}
    in_training = {tower: _present(part.train) for tower, part in parts.items()}
    shared = set.intersection(*in_training.values())
    only = {
        tower: tuple(sorted((in_training[tower] | _present(part.test)) - shared))
        for tower, part in parts.items()
    }
    if not shared:
        listed = "".join(
            f"\n  {tower} ({part.name}): {shorten(sorted(in_training[tower])) or 'no training samples'}"
            for tower, part in parts.items()
        )
        hints = "".join(f"\n  {hint}" for hint in _hints(tuple(_near_misses(only))))
        raise DataError(
            f"no class has training samples in every tower:{listed}{hints}\n"
            "give classes that mean the same the same name with rename={TOWER: {CLASS: NEW NAME}}"
        )
    return Paired(classes, parts, tuple(sorted(shared)), only)


def renamed(tower: str, classes: tuple[str, ...], new_names: Mapping[str, str]) -> tuple[str, ...]:
    """What the classes of a tower or source are called after renaming, in their order."""
    for name in new_names:
        if name not in classes:
            raise DataError(
                f"cannot rename {name!r}: {tower} has no such class{closest(name, classes)}; "
                f"it has {shorten(classes)}"
            )
    return tuple(new_names.get(name, name) for name in classes)


def closest(name: str, names: Collection[str], cutoff: float = 0.6) -> str:
    """The end of a message about a class that nobody has: the nearest name, if any is near."""
    by_key = {class_key(known): known for known in names}
    found = difflib.get_close_matches(class_key(name), by_key, n=1, cutoff=cutoff)
    return f" (did you mean {by_key[found[0]]!r}?)" if found else ""


def relabelled(part: Splits[Any], new_names: tuple[str, ...], classes: tuple[str, ...]) -> Splits[Samples]:
    to_new = torch.tensor([classes.index(name) for name in new_names], dtype=torch.int64)  # (old classes,)

    def change(samples: Any) -> Any:
        if not is_dataclass(samples):
            raise TypeError(
                f"{type(samples).__name__} cannot be given other classes: it must be a dataclass with the "
                "fields labels and classes"
            )
        changed: Any = samples
        return replace(changed, labels=to_new[changed.labels], classes=classes)

    return Splits(part.name, change(part.train), change(part.test))


def _present(samples: Samples) -> set[str]:
    return {samples.classes[label] for label in samples.labels.unique().tolist()}


def class_key(name: str) -> str:
    """The same for names that differ in case, spaces, hyphens and the like only."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _near_misses(only: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str, str, str]]:
    towers = list(only)
    for k, tower in enumerate(towers):
        for other in towers[k + 1 :]:
            of_other = {class_key(name): name for name in only[other] if class_key(name)}
            for name in only[tower]:
                if (match := of_other.get(class_key(name))) is not None and match != name:
                    yield tower, name, other, match


def _hints(near_misses: tuple[tuple[str, str, str, str], ...]) -> list[str]:
    return [
        f"{name!r} of {tower} and {match!r} of {other} may be the same class: "
        f"rename={{{tower!r}: {{{name!r}: {match!r}}}}} makes them one"
        for tower, name, other, match in near_misses
    ]


_NONE: Mapping[str, int] = MappingProxyType({})


class PairedBatches:
    """Batches in which every tower has samples of the same classes, so that each finds its counterparts.

    As in :class:`~batchot.data.BalancedBatches`, classes and their samples take turns and alternate within a batch, so
    each half of it is balanced too. An epoch is over when the first tower has been seen about once. ``extra`` samples
    are of classes that are not ``allowed``: they have no counterpart in the batch and push it away.
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
        chosen = set.intersection(*present.values()) if allowed is None else set(allowed)
        for tower, classes in present.items():
            if missing := sorted(chosen - classes):
                raise ValueError(f"{tower} has no samples of the allowed classes {missing}; leave them out")
        self.allowed = tuple(sorted(chosen))
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


class PairedTrainingBatches(ResumableBatches[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]):
    """Training batches of several towers."""

    def __init__(
        self,
        samples: Mapping[str, Samples],
        sampler: PairedBatches,
        prepare: Mapping[str, Preparation],
        *,
        seed: int = 0,
        ahead: int = 2,
        share: Share = WHOLE,
    ) -> None:
        super().__init__(sampler, seed, ahead, share)
        if not set(samples) == set(sampler.sizes) == set(prepare):
            raise ValueError(
                f"the towers of samples ({', '.join(samples)}), sampler ({', '.join(sampler.sizes)}) and "
                f"prepare ({', '.join(prepare)}) must be the same"
            )
        self.samples = dict(samples)
        self.prepare = dict(prepare)

    def _make(self, indices: dict[str, Tensor], epoch: int, k: int) -> dict[str, tuple[Tensor, Tensor]]:
        made = {}
        for tower, chosen in indices.items():
            generator = generator_for(f"augmentation of {tower}", self.seed, epoch, k)
            made[tower] = self.prepare[tower].training(self.samples[tower], chosen, generator, self.share)
        return made
