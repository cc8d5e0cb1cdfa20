"""Data of a recipe, from one source or several."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from batchot.data import (
    Augmentation,
    CloudAugmentation,
    Images,
    Normalization,
    Preparation,
    Samples,
    Splits,
    ViewAugmentation,
    held_out,
    load_dataset,
)
from batchot.data.augment.images import Splat
from batchot.data.augment.sketches import SketchAugmentation
from batchot.data.batches.loader import Joined, mix
from batchot.data.batches.paired import class_key, closest, relabelled, renamed
from batchot.data.batches.samplers import generator_for
from batchot.data.sets.places import cache_folder
from batchot.data.sets.quickdraw import Hand, load_quickdraw
from batchot.data.sets.shape_files import ShapeCollection, shorten
from batchot.errors import Tell, nobody
from batchot.named import is_own, own
from batchot.towers.saved import read_saved, trained_run
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.settings import same_named


def find_quickdraw(recipe: Recipe, data_root: Path | None) -> Path:
    """Give where the files of Quick, Draw! lie that a recipe trains on beside its own sketches."""
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
    tell: Tell = nobody,
) -> Splits[Any]:
    """Bring the sources of a set of sketches together."""
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
        all_of(same[source]) if source == "quickdraw" != recipe.data.source else same[source].train
        for source in shares
    ]
    if recipe.data.train_on == "both" and len(train) == 2:
        return Splits(own.name, Joined(train[0], train[1]), own.test)
    return Splits(own.name, mix(train, list(shares.values())), own.test)


def all_of(part: Splits[Any]) -> Samples:
    """Give the training and test samples of a set as one."""
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


_GAP = 0.04  # of the side of a drawing: where the pen was lifted
_NORMALIZED_ON = 1_000  # training samples whose views are looked at for mean and standard deviation


def load_own(
    recipe: Recipe, data_root: Path | None, *, tell: Tell = nobody, progress: bool = False
) -> Splits[Any]:
    if recipe.data.shapes:
        splits = _load_shapes(recipe, data_root, tell, progress)
    elif recipe.data.drawn:
        splits = _sketches(recipe, data_root, tell)
    else:
        splits = _images(recipe, data_root)
    if recipe.data.shots is not None:
        splits = few_shots(splits, recipe.data.shots, recipe.seed)
    if recipe.data.validation > 0:
        splits = held_out(splits, recipe.data.validation)
    return splits


def limited(splits: Splits[Any], recipe: Recipe) -> Splits[Any]:
    """Keep so many of the training samples, whatever sources they come from, as ``data.limit`` says."""
    limit = recipe.data.limit
    if limit is None or limit >= len(splits.train):
        return splits
    return Splits(splits.name, splits.train.subset(draw(len(splits.train), limit, recipe.seed)), splits.test)


def root_of(recipe: Recipe, data_root: Path | None) -> Path | None:
    """Give where the data of a recipe lies: --data-root, or the folder in it that ``data.folder`` names."""
    if recipe.data.folder is None:
        return data_root
    folder = Path(recipe.data.folder)
    found = folder if data_root is None else data_root / folder  # an absolute folder stays what it is
    if (
        not found.exists()
        and "*" in recipe.data.folder
        and not folder.is_absolute()
        and data_root is not None
    ):
        found = next(iter(sorted(data_root.glob(recipe.data.folder))), found)
    if not found.exists():
        hint = "" if folder.is_absolute() or data_root is not None else "; give --data-root"
        raise RecipeError(f"data.folder: there is no {found}{hint}")
    return found


def _images(recipe: Recipe, data_root: Path | None) -> Splits[Any]:
    name = recipe.data.name
    size = recipe.data.image_size
    if is_own(name):
        splits = _own_images(name, root_of(recipe, data_root))
    else:
        splits = load_dataset(name, root_of(recipe, data_root), size=size)
    _, h, w = splits.sample_shape
    if h != w:
        raise RecipeError(
            f"data.image_size: LeNet-5 needs square images, these are {h} x {w}; set data.image_size=32"
        )
    return splits


def _own_images(name: str, root: Path | None) -> Splits[Any]:
    try:
        load = own(name)
        takes = inspect.signature(load).parameters
    except ValueError as error:
        raise RecipeError(f"data.name: {error}") from error
    splits = load(data_root=root) if "data_root" in takes else load()
    if not isinstance(splits, Splits) or not isinstance(splits.train, Images):
        raise RecipeError(
            f"data.name: {name} must return batchot.data.Splits of batchot.data.Images, not {type(splits).__name__}"
        )
    return splits


def _sketches(recipe: Recipe, data_root: Path | None, tell: Tell) -> Splits[Any]:
    from batchot.data.sets.sketches import load_sketch_folder

    name, root, size = recipe.data.name, root_of(recipe, data_root), recipe.data.sketch_size
    if name in ("sketches", "quickdraw"):
        if root is None:
            raise RecipeError("data.folder: where do the sketches lie? Give --data-root or data.folder")
        if name == "quickdraw":
            return read_quickdraw(recipe, root, size, tell)
        shapes = recipe.shapes
        return load_sketch_folder(
            root, size=size, test_fraction=shapes.test_fraction, split_seed=shapes.split_seed, tell=tell
        )
    from batchot.data.sets.shrec import load_shrec_sketches

    return load_shrec_sketches(13 if name == "shrec13-sketches" else 14, root, size=size, tell=tell)


def collection_of(recipe: Recipe, data_root: Path | None, tell: Tell = nobody) -> ShapeCollection:
    """Give the shapes of a recipe, found but not read."""
    from batchot.data.sets.by_name import load_collection

    if recipe.data.name == "shards":
        raise RecipeError("data.name: 'shards' hold views, not shapes; this needs the shapes themselves")
    settings, root = recipe.shapes, root_of(recipe, data_root)
    if recipe.data.name in ("shrec13-shapes", "shrec14-shapes"):
        from batchot.data.sets.shrec import load_shrec_shapes

        year: Literal[13, 14] = 13 if recipe.data.name == "shrec13-shapes" else 14
        return load_shrec_shapes(year, root, up=settings.up, tell=tell)
    name = "folder" if recipe.data.name == "shape-folder" else recipe.data.name
    found = load_collection(
        name,  # type: ignore[arg-type]
        root,
        seed=settings.split_seed,
        test_fraction=settings.test_fraction,
        min_class=settings.min_class,
        prefer=settings.prefer,
        up=settings.up,
        parts=settings.parts,
        tolerance=settings.tolerance,
    )
    # Seen lying, 750 meshes of the Princeton benchmark are retrieved three points of mAP worse (docs/results.md).
    if (
        name == "folder"
        and settings.up == "auto"
        and any(s.path.suffix.lower() == ".obj" for s in found.train)
    ):
        tell(
            "OBJ files do not say which axis points up; z is taken. Where shapes lie on their backs (see "
            "batchot render FOLDER --sheet sheet.png), shapes.up=y turns them"
        )
    return found


def _load_shapes(recipe: Recipe, data_root: Path | None, tell: Tell, progress: bool) -> Splits[Any]:
    from batchot.data.clouds import load_clouds
    from batchot.data.views import load_views

    settings = recipe.shapes
    if recipe.data.name == "shards":
        return _shards(recipe, data_root)
    collection = collection_of(recipe, data_root, tell)
    if renders(recipe):
        train, test = load_views(
            collection, view_settings(recipe), view_folder(), progress=progress, on_message=tell
        )
        return Splits(collection.name, train, test)
    clouds, unseen = load_clouds(collection, settings.points, too_few="repeat", progress=progress)
    return Splits(collection.name, clouds, unseen)


def _shards(recipe: Recipe, data_root: Path | None) -> Splits[Any]:
    from batchot.data.shards import load_shards

    if not renders(recipe):
        raise RecipeError(
            "data.name: 'shards' hold rendered views; they need model.name=mvcnn and shapes.views=rendered"
        )
    root = root_of(recipe, data_root)
    if root is None:
        raise RecipeError("data.folder: where do the shards lie? Give --data-root or data.folder")
    return load_shards(root, view_settings(recipe))


def renders(recipe: Recipe) -> bool:
    return recipe.model.name == "mvcnn" and recipe.shapes.views == "rendered"


def view_settings(recipe: Recipe) -> Any:
    """Give from where and how the shapes of a recipe are rendered: a `ViewSettings`."""
    from batchot.shapes.views.settings import ViewSettings

    return ViewSettings(**same_named(ViewSettings, recipe.shapes))


def view_folder() -> Path:
    return cache_folder() / "views"


def few_shots(splits: Splits[Any], shots: int, seed: int) -> Splits[Any]:
    """Divide anew: so many samples of each class to train on, drawn by a seed, all others to measure on."""
    whole = all_of(splits)
    order = torch.randperm(len(whole), generator=generator_for("shots", seed))
    chosen = torch.zeros(len(whole), dtype=torch.bool)
    for label, name in enumerate(whole.classes):
        members = order[whole.labels[order] == label]
        if len(members) <= shots:
            raise RecipeError(
                f"data.shots: class {name} has {len(members)} samples, of which {shots} cannot be trained on with any "
                "left to measure on; take fewer, or leave small classes out (shapes.min_class)"
            )
        chosen[members[:shots]] = True
    numbers = torch.arange(len(whole))
    return Splits(splits.name, whole.subset(numbers[chosen]), whole.subset(numbers[~chosen]))


def draw(n: int, k: int, seed: int) -> Tensor:
    """Draw k of n numbers, the same for the same seed, in ascending order."""
    return torch.randperm(n, generator=generator_for("subset", seed))[:k].sort().values


def reference_samples(recipe: Recipe, train: Samples) -> Samples:
    """Give the training samples by whose embeddings the test samples are classified."""
    k = recipe.evaluation.train_samples
    return train if k >= len(train) else train.subset(draw(len(train), k, recipe.seed))


def projection_of(recipe: Recipe) -> Splat | None:
    """Give what makes views of clouds, where a recipe does that while it trains."""
    settings = recipe.shapes
    if recipe.model.name != "mvcnn" or renders(recipe):
        return None
    return Splat(settings.cameras, settings.size, settings.radius, settings.margin)


def prepare(recipe: Recipe, splits: Splits[Any]) -> Preparation:
    """Give what is done to samples before the network, augmentation included."""
    projection = projection_of(recipe)
    train: Samples = splits.train
    normalization: Normalization | None
    if recipe.model.name in ("pointnet", "dgcnn"):
        normalization = None
    elif (run := trained_run(recipe.model.pretrained)) is not None:
        # it sees as the run saw that it begins from
        seen = next(iter(read_saved(run, "last").spec.towers.values()))
        normalization = Normalization(seen.mean, seen.std)
    elif recipe.model.pretrained != "none":
        # pretrained backbones take pixels in 0 .. 1 and normalise them as their weights want it
        c = 1 if projection is not None else splits.sample_shape[-3]
        normalization = Normalization((0.0,) * c, (1.0,) * c)
    elif not recipe.data.shapes and not recipe.data.drawn:
        normalization = Normalization.from_pixels(splits.train.images)
    else:
        some = train.batch(draw(len(train), min(_NORMALIZED_ON, len(train)), recipe.seed))
        normalization = Normalization.from_pixels(some if projection is None else projection(some))
    partial = recipe.augment.partial if recipe.data.drawn else 0.0
    return Preparation(normalization, _augmentation(recipe, splits), projection, partial)


def _augmentation(
    recipe: Recipe, splits: Splits[Any]
) -> Augmentation | CloudAugmentation | SketchAugmentation | ViewAugmentation:
    augment = recipe.augment
    if recipe.data.shapes and not renders(recipe):
        return CloudAugmentation(augment.flip, augment.scale, augment.turn, augment.jitter, augment.partial)
    side = splits.sample_shape[-1]
    if augment.shift >= side:
        raise RecipeError(f"augment.shift: {augment.shift} is not allowed; the images are {side} pixels wide")
    if recipe.data.drawn:
        changes = same_named(SketchAugmentation, augment)
        return SketchAugmentation(**changes, gap_size=_GAP * recipe.data.sketch_size)
    if not recipe.data.shapes:
        return Augmentation(augment.flip, augment.shift, augment.padding, augment.cutout)
    from batchot.shapes.render.cameras import make_cameras, mirror_order

    order = mirror_order(make_cameras(recipe.shapes.cameras).rotations) if augment.flip else None
    return ViewAugmentation(order, augment.shift, augment.padding)


def input_shape(preparation: Preparation, samples: Samples) -> tuple[int, ...]:
    if preparation.projection is None:
        return samples.sample_shape
    return tuple(preparation.project(samples.batch(torch.tensor([0]))).shape[1:])
