"""Sketches of several sources as one set: drawn by hand, Quick, Draw!, lines of the shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from batchot.data import Samples, Splits
from batchot.data.drawings import Hand
from batchot.data.joined import Joined, mix
from batchot.data.pairing import class_key, closest, relabelled, renamed
from batchot.data.quickdraw import load_quickdraw
from batchot.data.shape_files import shorten
from batchot.training.recipe import Recipe, RecipeError

Tell = Callable[[str], None]


def find_quickdraw(recipe: Recipe, data_root: Path | None) -> Path:
    """Give where the files of Quick, Draw! lie that a recipe trains on beside its own sketches.

    Raises:
        RecipeError: there is no such folder, or more than one
    """
    named = recipe.data.quickdraw
    root = Path() if data_root is None else data_root
    found = root / named  # an absolute path stays what it is
    places = [found] if found.exists() else sorted(root.glob(named)) if not Path(named).is_absolute() else []
    if len(places) != 1:
        several = f"there are {shorten(places)}" if places else f"there is no {found}"
        raise RecipeError(
            f"data.quickdraw: {several}; give the folder of the .ndjson files, in --data-root or as an absolute "
            "path, or leave quickdraw out of data.train_on"
        )
    return places[0]


def read_quickdraw(recipe: Recipe, place: Path, size: int, tell: Tell) -> Splits[Any]:
    """Read the drawings of Quick, Draw! as a recipe wants them."""
    return load_quickdraw(
        place,
        size=size,
        per_class=recipe.data.per_class,
        test_fraction=recipe.shapes.test_fraction,
        split_seed=recipe.shapes.split_seed,
        hand=Hand.of(recipe.augment.hand),
        tell=tell,
    )


def other_sources(recipe: Recipe, data_root: Path | None, tell: Tell) -> dict[str, Splits[Any]]:
    """Load the sources beside the data set itself that need no shapes."""
    if "quickdraw" not in recipe.data.shares or recipe.data.source == "quickdraw":
        return {}
    place = find_quickdraw(recipe, data_root)
    return {"quickdraw": read_quickdraw(recipe, place, recipe.data.sketch_size, tell)}


def mix_sources(
    recipe: Recipe,
    parts: Mapping[str, Splits[Any]],
    *,
    rename: Mapping[str, Mapping[str, str]],
    asked: Collection[str] = (),
    tell: Tell = lambda text: None,
) -> Splits[Any]:
    """Bring the sources of a set of sketches together.

    Classes of Quick, Draw! are taken for those of another source, or of the shapes, whose names differ from theirs
    in case, spaces and hyphens only; where shapes are given, those without any are left out.

    Args:
        recipe: names the sources and their shares
        parts: sketches of each source, and of the data set itself, whose test part is that of the result
        rename: for each source, what its classes are called here
        asked: classes of the shapes that are searched, where it is known which
        tell: told in sentences whose names were changed, and which classes were left out

    Returns:
        The training sketches of all sources, with the union of their classes.

    Raises:
        RecipeError: a class is renamed to one that nobody has
    """
    names = {
        source: _lenient_names(part, rename.get(source, {}), tell)
        if source == "quickdraw"
        else renamed(source, part.train.classes, rename.get(source, {}))
        for source, part in parts.items()
    }
    parts = dict(parts)
    if "quickdraw" in parts:
        others = {name for source in parts if source != "quickdraw" for name in names[source]} | {*asked}
        if others:
            _check_new_names(
                names["quickdraw"], parts["quickdraw"], rename.get("quickdraw", {}), others, tell
            )
            names["quickdraw"] = _agree(names["quickdraw"], others, tell)
        if asked:
            wanted = others if recipe.data.source != "quickdraw" else {*asked}
            parts["quickdraw"] = _only(parts["quickdraw"], names["quickdraw"], wanted, tell)
            names["quickdraw"] = tuple(name for name in names["quickdraw"] if name in wanted)
    classes = tuple(sorted({name for of_source in names.values() for name in of_source}))
    same = {source: relabelled(part, names[source], classes) for source, part in parts.items()}
    own = same[recipe.data.source]
    shares = recipe.data.shares
    train: list[Samples] = [
        # all of another set is there to be learned from; of the lines, those of the shapes that are trained on
        _everything(same[source]) if source == "quickdraw" != recipe.data.source else same[source].train
        for source in shares
    ]
    if recipe.data.train_on == "both" and len(train) == 2:
        return Splits(own.name, Joined(train[0], train[1]), own.test)
    return Splits(own.name, mix(train, list(shares.values())), own.test)


def _everything(part: Splits[Any]) -> Samples:
    samples: Samples = part.train if len(part.test) == 0 else Joined(part.train, part.test)
    return samples


def _lenient_names(part: Splits[Any], new: Mapping[str, str], tell: Tell) -> tuple[str, ...]:
    """What the classes of Quick, Draw! are called; a map may name some that this copy of it lacks."""
    classes = part.train.classes
    if missing := [f"{name!r}{closest(name, classes)}" for name in new if name not in classes]:
        tell(f"data.rename.quickdraw names {len(missing)} classes that are not there: {shorten(missing)}")
    return tuple(new.get(name, name) for name in classes)


def _check_new_names(
    names: tuple[str, ...], part: Splits[Any], new: Mapping[str, str], others: Collection[str], tell: Tell
) -> None:
    """A class may get a name of its own, but not one that is nearly that of another source: that is a slip."""
    counts = Counter(names)
    alone = {
        old: name
        for old, name in new.items()
        if old in part.train.classes and name not in others and counts[name] == 1
    }
    for old, name in alone.items():
        if nearest := closest(name, others, cutoff=0.8):
            raise RecipeError(
                f"data.rename.quickdraw: {old!r} is renamed to {name!r}, a class that no other source and no shape "
                f"has{nearest}"
            )
    if alone:
        shown = shorten([f"{old!r} is {name!r}{closest(name, others)}" for old, name in alone.items()])
        tell(f"data.rename.quickdraw has {len(alone)} names that no other source and no shape has: {shown}")


def _agree(names: tuple[str, ...], others: Collection[str], tell: Tell) -> tuple[str, ...]:
    """The names as the other sources write them, where just one of them has a name like it."""
    written: dict[str, list[str]] = {}
    for other in sorted(others):
        written.setdefault(class_key(other), []).append(other)
    alike = {
        name: written[class_key(name)][0]
        for name in names
        if name not in others and class_key(name) and len(written.get(class_key(name), [])) == 1
    }
    if alike:
        shown = shorten([f"{name!r} is {other!r}" for name, other in alike.items()])
        tell(f"quickdraw writes {len(alike)} classes otherwise, taken for the same: {shown}")
    return tuple(alike.get(name, name) for name in names)


def _only(part: Splits[Any], names: tuple[str, ...], wanted: Collection[str], tell: Tell) -> Splits[Any]:
    """The samples of the classes that are wanted."""
    kept = torch.tensor([name in wanted for name in names])
    without = sorted({name for name in names if name not in wanted})
    if without:
        tell(f"{len(without)} classes of {part.name} have no shape and are left out: {shorten(without)}")
    if not kept.any():
        raise RecipeError(
            f"data.train_on: no class of {part.name} is one of the shapes; say which are the same with "
            "data.rename={quickdraw: {CLASS: NEW NAME}}"
        )
    left = tuple(name for name, keep in zip(part.train.classes, kept.tolist(), strict=True) if keep)
    number = kept.cumsum(0) - 1  # of each class that is kept, among those

    def choose(samples: Any) -> Any:
        chosen = samples.subset(kept[samples.labels].nonzero().flatten())
        return replace(chosen, labels=number[chosen.labels], classes=left)

    return Splits(part.name, choose(part.train), choose(part.test))
