"""From a recipe to its data: which samples there are, and what is done to them before the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from batchot.data import (
    Augmentation,
    CloudAugmentation,
    Normalization,
    Preparation,
    Samples,
    Splits,
    ViewAugmentation,
    held_out,
    load_dataset,
)
from batchot.data.augment_sketches import SketchAugmentation
from batchot.data.locate import cache_folder
from batchot.data.projection import Splat
from batchot.data.seeding import generator_for
from batchot.training.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from batchot.data.shape_collection import ShapeCollection

_GAP = 0.04  # of the side of a drawing: where the pen was lifted
_NORMALIZED_ON = 1_000  # training samples whose views are looked at for mean and standard deviation


def load_splits(
    recipe: Recipe,
    data_root: Path | None,
    *,
    tell: Callable[[str], None] = lambda text: None,
    progress: bool = False,
) -> Splits[Any]:
    """Load the samples that a recipe asks for, sketches with those of the other sources; see `load_own`."""
    if recipe.data.drawn:
        return load_sketches(recipe, data_root, tell=tell)
    return load_own(recipe, data_root, tell=tell, progress=progress)


def load_own(
    recipe: Recipe,
    data_root: Path | None,
    *,
    tell: Callable[[str], None] = lambda text: None,
    progress: bool = False,
) -> Splits[Any]:
    """Load the samples of the data set of a recipe.

    With ``data.validation`` the test set is left alone: see `batchot.data.held_out`.

    Args:
        recipe: which data, and how shapes are seen
        data_root: where it lies
        tell: told in sentences what was left out
        progress: show progress bars where shapes are read or rendered

    Raises:
        RecipeError: the data does not fit the recipe
        batchot.data.DataError: data is missing or damaged
    """
    if recipe.data.shapes:
        splits = _load_shapes(recipe, data_root, tell, progress)
    elif recipe.data.drawn:
        splits = _sketches(recipe, data_root, tell)
    else:
        splits = _images(recipe, data_root)
    if recipe.data.validation > 0:
        splits = held_out(splits, recipe.data.validation)
    limit = recipe.data.limit
    if limit is not None and limit < len(splits.train):
        chosen = draw(len(splits.train), limit, recipe.seed)
        splits = Splits(splits.name, splits.train.subset(chosen), splits.test)
    return splits


def load_sketches(recipe: Recipe, data_root: Path | None, *, tell: Callable[[str], None]) -> Splits[Any]:
    """Load sketches with the other sources that a recipe of one network trains on.

    Raises:
        RecipeError: the data does not fit the recipe
        batchot.data.DataError: data is missing or damaged
    """
    from batchot.training.sources import mix_sources, other_sources

    if "lines" in recipe.data.shares:
        raise RecipeError("data.train_on: 'lines' are drawn from the shapes of a cross-modal recipe")
    own = load_own(recipe, data_root, tell=tell)
    if not recipe.data.mixed:
        return own
    parts = {recipe.data.source: own, **other_sources(recipe, data_root, tell)}
    return mix_sources(recipe, parts, rename=recipe.data.rename, tell=tell)


def root_of(recipe: Recipe, data_root: Path | None) -> Path | None:
    """Give where the data of a recipe lies: --data-root, or the folder in it that ``data.folder`` names.

    Raises:
        RecipeError: there is no such folder
    """
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
    splits = load_dataset(name, root_of(recipe, data_root), size=size)  # type: ignore[arg-type]
    _, h, w = splits.sample_shape
    if h != w:
        raise RecipeError(
            f"data.image_size: LeNet-5 needs square images, these are {h} x {w}; set data.image_size=32"
        )
    return splits


def _sketches(recipe: Recipe, data_root: Path | None, tell: Callable[[str], None]) -> Splits[Any]:
    from batchot.data.sketches import load_sketch_folder

    name, root, size = recipe.data.name, root_of(recipe, data_root), sketch_size(recipe)
    if name == "line-drawings":
        raise RecipeError("data.name: 'line-drawings' are made from the shapes of a cross-modal recipe")
    if name in ("sketches", "quickdraw"):
        if root is None:
            raise RecipeError("data.folder: where do the sketches lie? Give --data-root or data.folder")
        if name == "sketches":
            shapes = recipe.shapes
            return load_sketch_folder(
                root, size=size, test_fraction=shapes.test_fraction, split_seed=shapes.split_seed, tell=tell
            )
        from batchot.training.sources import read_quickdraw

        return read_quickdraw(recipe, root, size, tell)
    from batchot.data.shrec import load_shrec_sketches

    return load_shrec_sketches(13 if name == "shrec13-sketches" else 14, root, size=size, tell=tell)


def sketch_size(recipe: Recipe) -> int:
    """Give height and width of the drawings of a recipe, pixels."""
    return recipe.data.sketch_size


def collection_of(
    recipe: Recipe, data_root: Path | None, tell: Callable[[str], None] = lambda text: None
) -> ShapeCollection:
    """Give the shapes of a recipe, found but not read.

    Raises:
        batchot.data.DataError: they are missing or damaged
    """
    from batchot.data.shape_collection import load_collection

    if recipe.data.name == "shards":
        raise RecipeError("data.name: 'shards' hold views, not shapes; this needs the shapes themselves")
    settings, root = recipe.shapes, root_of(recipe, data_root)
    if recipe.data.name in ("shrec13-shapes", "shrec14-shapes"):
        from batchot.data.shrec import load_shrec_shapes

        year: Literal[13, 14] = 13 if recipe.data.name == "shrec13-shapes" else 14
        return load_shrec_shapes(year, root, up=settings.up, tell=tell)
    divided = recipe.data.name in ("psb", "shape-folder")
    name = "folder" if recipe.data.name == "shape-folder" else recipe.data.name
    return load_collection(
        name,  # type: ignore[arg-type]
        root,
        seed=settings.split_seed,
        test_fraction=settings.test_fraction,
        min_class=settings.min_class if divided else 1,
        prefer=settings.prefer if name.startswith("modelnet") else "any",
        up=settings.up,
    )


def _load_shapes(
    recipe: Recipe, data_root: Path | None, tell: Callable[[str], None], progress: bool
) -> Splits[Any]:
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
    """Say whether a recipe trains on rendered views."""
    return recipe.model.name == "mvcnn" and recipe.shapes.views == "rendered"


def view_settings(recipe: Recipe) -> Any:
    """Give from where and how the shapes of a recipe are rendered: a `ViewSettings`."""
    from batchot.shapes.view_settings import ViewSettings

    settings = recipe.shapes
    return ViewSettings(
        cameras=settings.cameras,
        size=settings.size,
        channels=settings.channels,
        antialias=settings.antialias,
        up=settings.up,
    )


def view_folder() -> Path:
    """Give the folder in which rendered views are kept."""
    return cache_folder() / "views"


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
    """Give what is done to samples before the network, augmentation included.

    Args:
        recipe: augmentation, and how clouds are seen
        splits: of `load_splits`; mean and standard deviation are those of the training pixels

    Raises:
        RecipeError: the augmentation does not fit the samples
    """
    projection = projection_of(recipe)
    train: Samples = splits.train
    if recipe.model.name in ("pointnet", "dgcnn"):
        normalization = None
    elif not recipe.data.shapes and not recipe.data.drawn:
        normalization = Normalization.from_pixels(splits.train.images)
    else:
        some = train.batch(draw(len(train), min(_NORMALIZED_ON, len(train)), recipe.seed))
        views = some if projection is None else projection(some)
        c = views.shape[-3]
        # pretrained backbones take pixels in 0 .. 1 and normalise them as their weights want it
        plain = recipe.model.pretrained != "none"
        normalization = Normalization((0.0,) * c, (1.0,) * c) if plain else Normalization.from_pixels(views)
    partial = recipe.augment.partial if recipe.data.drawn else 0.0
    return Preparation(normalization, _augmentation(recipe, splits), projection, partial)


def _augmentation(
    recipe: Recipe, splits: Splits[Any]
) -> Augmentation | CloudAugmentation | SketchAugmentation | ViewAugmentation:
    augment = recipe.augment
    if recipe.data.shapes and not renders(recipe):
        return CloudAugmentation(augment.flip, augment.scale, augment.turn, augment.jitter)
    side = splits.sample_shape[-1]
    if augment.shift >= side:
        raise RecipeError(f"augment.shift: {augment.shift} is not allowed; the images are {side} pixels wide")
    if recipe.data.drawn:
        return SketchAugmentation(
            turn=augment.turn,
            flip=augment.flip,
            shift=augment.shift,
            scale=augment.scale,
            thickness=augment.thickness,
            elastic=augment.elastic,
            tremor=augment.tremor,
            stretch=augment.stretch,
            rotations=augment.rotations,
            gaps=augment.gaps,
            gap_size=_GAP * sketch_size(recipe),
        )
    if not recipe.data.shapes:
        return Augmentation(augment.flip, augment.shift, augment.padding, augment.cutout)
    from batchot.shapes.cameras import make_cameras
    from batchot.shapes.mirror import mirror_order

    order = mirror_order(make_cameras(recipe.shapes.cameras).rotations) if augment.flip else None
    return ViewAugmentation(order, augment.shift, augment.padding)


def input_shape(preparation: Preparation, samples: Samples) -> tuple[int, ...]:
    """Give the shape of one sample as the network gets it."""
    if preparation.projection is None:
        return samples.sample_shape
    return tuple(preparation.project(samples.batch(torch.tensor([0]))).shape[1:])
