"""The classes of several towers, such as sketches and shapes, brought together under common labels."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from batchot.data.errors import DataError
from batchot.data.images import Splits
from batchot.data.samples import Samples
from batchot.data.shape_files import shorten

Renaming = Mapping[str, Mapping[str, str]]
_NO_RENAMING: Renaming = MappingProxyType({})


@dataclass(frozen=True)
class Paired:
    """Data sets of several towers with common classes.

    Args:
        classes: of all towers together, after renaming, in alphabetical order.
        parts: data set of each tower, its labels being indices into ``classes``.
        shared: classes of which every tower has training samples; these are learnt from in pairs.
        only: for each tower, the classes of its samples, training or test, that are not shared. They give no
            pairs across towers, but remain in the data, where they are distractors.

    Example:
        >>> from batchot.data import load_digits
        >>> from batchot.data.pairing import pair_classes
        >>> digits = load_digits()
        >>> paired = pair_classes({"left": digits, "right": digits}, {"right": {"7": "seven"}})
        >>> len(paired.classes), paired.only
        (11, {'left': ('7',), 'right': ('seven',)})
    """

    classes: tuple[str, ...]
    parts: dict[str, Splits[Samples]]
    shared: tuple[str, ...]
    only: dict[str, tuple[str, ...]]

    @property
    def shared_labels(self) -> tuple[int, ...]:
        """Indices of the shared classes."""
        return tuple(self.classes.index(name) for name in self.shared)

    @property
    def near_misses(self) -> tuple[tuple[str, str, str, str], ...]:
        """Classes that are not shared and differ in case, accents' form or separators only.

        Returns:
            (tower, class, other tower, its class) of each.
        """
        return tuple(_near_misses(self.only))

    def summary(self) -> str:
        """In words: how many classes are shared, which are not, and which names look like the same class."""
        text = f"{len(self.shared)} classes are in every tower ({shorten(self.shared)})"
        for tower, names in self.only.items():
            if names:
                text += f"; {len(names)} of {tower} are not ({shorten(names)})"
        return text + "".join(f"; {hint}" for hint in _hints(self.near_misses))


def pair_classes(splits: Mapping[str, Splits[Any]], rename: Renaming = _NO_RENAMING) -> Paired:
    """Give several data sets common classes: those of the same name are the same, in the same case.

    Args:
        splits: data set of each tower.
        rename: for each tower, new names of some of its classes. Two with the same new name become one:
            ``{"sketch": {"dog": "Quadruped", "horse": "Quadruped"}}``.

    Returns:
        The data sets with their labels changed, and which classes are shared.

    Raises:
        ValueError: on less than two towers.
        DataError: when ``rename`` names a tower or class that is not there, or no class is shared.

    Example:
        >>> import torch
        >>> from batchot.data import Images, Splits
        >>> from batchot.data.pairing import pair_classes
        >>> def four(*classes: str) -> Splits[Images]:
        ...     part = Images(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4) % 2, classes)
        ...     return Splits("drawn", part, part)
        >>> towers = {"sketch": four("dog", "guitar"), "shape": four("Guitar", "Quadruped")}
        >>> paired = pair_classes(towers, {"sketch": {"dog": "Quadruped", "guitar": "Guitar"}})
        >>> paired.shared, paired.parts["sketch"].train.labels.tolist()
        (('Guitar', 'Quadruped'), [1, 0, 1, 0])
    """
    if len(splits) < 2:
        raise ValueError(f"classes are paired between two towers or more, got {len(splits)}")
    _check_towers(rename, splits)
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


def _check_towers(rename: Renaming, splits: Mapping[str, Splits[Any]]) -> None:
    if unknown := [tower for tower in rename if tower not in splits]:
        raise DataError(
            f"cannot rename classes of {', '.join(unknown)}: the towers are {', '.join(splits)}"
            f"{closest(unknown[0], tuple(splits))}"
        )


def renamed(tower: str, classes: tuple[str, ...], new_names: Mapping[str, str]) -> tuple[str, ...]:
    """What the classes of a tower or source are called after renaming, in their order.

    Raises:
        DataError: when a class is renamed that is not there.
    """
    for name in new_names:
        if name not in classes:
            raise DataError(
                f"cannot rename {name!r}: {tower} has no such class{closest(name, classes)}; "
                f"it has {shorten(classes)}"
            )
    return tuple(new_names.get(name, name) for name in classes)


def closest(name: str, names: Collection[str], cutoff: float = 0.6) -> str:
    """The end of a message about a class that nobody has: the nearest name, if any is near.

    Example:
        >>> from batchot.data.pairing import closest
        >>> closest("hot-air-baloon", ["hot air balloon", "horse"])
        " (did you mean 'hot air balloon'?)"
    """
    by_key = {class_key(known): known for known in names}
    found = difflib.get_close_matches(class_key(name), by_key, n=1, cutoff=cutoff)
    return f" (did you mean {by_key[found[0]]!r}?)" if found else ""


def relabelled(part: Splits[Any], new_names: tuple[str, ...], classes: tuple[str, ...]) -> Splits[Samples]:
    """Give a set other classes.

    Args:
        part: the set.
        new_names: of its classes, in their order.
        classes: all there are.
    """
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
    """The same for names that differ in case, spaces, hyphens and the like only.

    Example:
        >>> from batchot.data.pairing import class_key
        >>> class_key("Person sitting") == class_key("person_sitting")
        True
    """
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
