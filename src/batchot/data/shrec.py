"""SHREC'13 and SHREC'14: hand-drawn sketches and the 3D models that they are to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from batchot.data.errors import DataError
from batchot.data.images import Images, Splits
from batchot.data.locate import missing_data, search_places
from batchot.data.pairing import class_key
from batchot.data.psb import model_key
from batchot.data.shape_collection import ShapeCollection
from batchot.data.shape_files import kind_of, shorten
from batchot.data.shrec_layouts import (
    FoundFile,
    FoundSketch,
    find_files,
    find_models,
    find_sketches,
)
from batchot.data.shrec_lists import Listed, Lists, compare, shape_lists, sketch_lists
from batchot.data.sketch_files import SketchFile, load_sketch_files, warn_user
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

Year = Literal[13, 14]
Found = TypeVar("Found", FoundFile, FoundSketch)
SKETCH_COUNTS: dict[Year, tuple[int, int]] = {13: (4_500, 2_700), 14: (8_550, 5_130)}
SHAPE_COUNTS: dict[Year, int] = {13: 1_258, 14: 8_987}
CLASS_COUNTS: dict[Year, int] = {13: 90, 14: 171}
MODELS_UP: Up = "y"
_NO_DOWNLOAD = "it is not offered for download by this package"


def load_shrec_sketches(
    year: Year,
    data_root: Path | None = None,
    *,
    size: int = 128,
    tell: Callable[[str], None] = warn_user,
) -> Splits[Images]:
    """Find the sketches of SHREC'13 or SHREC'14, with their official division.

    Taken are ``SHREC13_SBR_TRAINING_SKETCHES`` and ``SHREC13_SBR_TESTING_SKETCHES``, or
    ``SHREC14LSSTB_SKETCHES``, with ``CLASS/train/NUMBER.png`` and ``CLASS/test/NUMBER.png`` at any depth, as
    zip archives or unpacked. The division is that of ``sketchTrain.txt`` and ``sketchTest.txt`` where they lie
    beside, else of ``*Sketch_Train.cla`` and ``*Sketch_Test.cla``, else of the folders.

    Args:
        year: 13 or 14.
        data_root: folder that holds a folder ``shrec13`` or ``shrec14``, or the above; else ``$BATCHOT_DATA``,
            else the cache folder.
        size: height and width that the sketches are brought to.
        tell: told in a sentence what is missing, not listed, damaged or blank, and that a part of the
            benchmark is not the benchmark. By default that is a warning.

    Returns:
        Dark strokes on white paper, uint8, ``(n, 1, size, size)``, named ``"dog/5281"``.

    Raises:
        DataError: when no sketches are found, none is listed, or a list is malformed.

    Source:
        B. Li et al., "SHREC'13 Track: Large Scale Sketch-Based 3D Shape Retrieval", 3DOR 2013; "SHREC'14 Track:
        Extended Large Scale Sketch-Based 3D Shape Retrieval", 3DOR 2014.

    Example:
        >>> from batchot.data import load_shrec_sketches
        >>> load_shrec_sketches(13, Path("no-such-folder"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        batchot.data.errors.DataError: --data-root names no-such-folder, which is not a folder; ...
    """
    published = (
        "SHREC13_SBR_TRAINING_SKETCHES and SHREC13_SBR_TESTING_SKETCHES"
        if year == 13
        else "SHREC14LSSTB_SKETCHES"
    )
    contents = f"{published} with CLASS/train/NUMBER.png and CLASS/test/NUMBER.png, folders or zip archives"
    place, found, sketches = _first_place(year, data_root, find_sketches, contents)
    lists = sketch_lists(found)
    files = (
        _divided(sketches, place, tell) if lists is None else _listed_sketches(sketches, lists, place, tell)
    )
    splits = load_sketch_files(f"shrec{year}", files, size=size, tell=tell)
    counts = (len(splits.train), len(splits.test))
    if counts != SKETCH_COUNTS[year]:
        train, test = SKETCH_COUNTS[year]
        tell(
            f"{place} gives {counts[0]:,} training and {counts[1]:,} test sketches in "
            f"{len(splits.train.classes)} classes, SHREC'{year} has {train:,} and {test:,} in "
            f"{CLASS_COUNTS[year]}: scores on it are not SHREC scores"
        )
    return splits


def load_shrec_shapes(
    year: Year,
    data_root: Path | None = None,
    *,
    up: Up = "auto",
    tell: Callable[[str], None] = warn_user,
) -> ShapeCollection:
    """Find the target models of SHREC'13 or SHREC'14.

    Taken are ``SHREC13_SBR_TARGET_MODELS/models/m123.off`` or ``SHREC14LSSTB_TARGET_MODELS/M000123.off``, at
    any depth, as zip archives or unpacked. Their classes are those of ``SHREC13_SBR_Model.cla`` or
    ``SHREC14_SBR_Model.cla``, else of ``shape.txt``, else the names of the folders right above the models.

    Args:
        year: 13 or 14.
        data_root: as for :func:`load_shrec_sketches`.
        up: the axis of the models that points up; ``"auto"``: y, as of the Princeton Shape Benchmark, from
            which those of SHREC'13 are taken. Those of SHREC'14 come from eight collections and are not all
            upright.
        tell: told in a sentence what is missing or not listed, and that a part is not the benchmark. By
            default that is a warning.

    Returns:
        All models as training shapes, named ``"dog/M000123"``: the benchmark learns from, and searches in, the
        same ones.

    Raises:
        DataError: when no models are found, nothing tells their classes, or a list is malformed.

    Example:
        >>> from batchot.data import load_shrec_shapes
        >>> load_shrec_shapes(14, Path("no-such-folder"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        batchot.data.errors.DataError: --data-root names no-such-folder, which is not a folder; ...
    """
    published = "SHREC13_SBR_TARGET_MODELS" if year == 13 else "SHREC14LSSTB_TARGET_MODELS"
    contents = f"{published} with .off models, a folder or a zip archive"
    place, found, models = _first_place(year, data_root, find_models, contents)
    lists = shape_lists(found)
    if lists is None:
        class_of = _classes_by_folder(models, place, year)
        by_key = {str(file.place.with_suffix("")): file for file in reversed(models)}
    else:
        class_of = {model_key(item.number): item for item in lists.items}
        # Of two files of one model the first stays.
        by_key = {model_key(file.place.name): file for file in reversed(models)}
        compare(class_of, by_key, "models", lists.files, place, tell)
    axis: Up = MODELS_UP if up == "auto" else up
    kept = sorted(
        ((item, by_key[key]) for key, item in class_of.items() if key in by_key),
        key=lambda pair: (pair[0].class_name, pair[1].place.stem, str(pair[1].place)),
    )
    classes = tuple(sorted({item.class_name for item, _ in kept}))
    sources = tuple(
        ShapeSource(
            f"{item.class_name}/{file.place.stem}",
            file.path,
            file.member,
            label=classes.index(item.class_name),
            up=axis,
        )
        for item, file in kept
    )
    if len(sources) != SHAPE_COUNTS[year]:
        tell(
            f"{place} gives {len(sources):,} models in {len(classes)} classes, SHREC'{year} has "
            f"{SHAPE_COUNTS[year]:,} in {CLASS_COUNTS[year]}: scores on it are not SHREC scores"
        )
    return ShapeCollection(f"shrec{year}", classes, sources, (), kind_of(sources), place)


def _first_place(
    year: Year,
    data_root: Path | None,
    pick: Callable[[tuple[FoundFile, ...]], tuple[Found, ...]],
    contents: str,
) -> tuple[Path, tuple[FoundFile, ...], tuple[Found, ...]]:
    """The first folder with what is looked for, all files of the benchmark in it, and those that are picked."""
    places = search_places(f"shrec{year}", data_root)
    for place in places:
        files = find_files(place, year)
        if picked := pick(files):
            return place, files, picked
    raise missing_data(f"shrec{year}", contents, places, _NO_DOWNLOAD)


def _divided(sketches: Sequence[FoundSketch], place: Path, tell: Callable[[str], None]) -> list[SketchFile]:
    """The sketches as their folders divide them."""
    if undivided := [sketch.file.place for sketch in sketches if sketch.part is None]:
        text = (
            f"{place}: {len(undivided):,} sketches lie neither in train/ nor in test/ and no list tells their "
            f"part: {shorten(undivided)}"
        )
        if len(undivided) == len(sketches):
            raise DataError(f"{text}; put sketchTrain.txt and sketchTest.txt, or the .cla files, beside them")
        tell(f"{text}; they are left out")
    return [
        SketchFile(_name(sketch), sketch.class_name, sketch.part, sketch.file.path, sketch.file.member)
        for sketch in sketches
        if sketch.part is not None
    ]


def _listed_sketches(
    sketches: Sequence[FoundSketch], lists: Lists, place: Path, tell: Callable[[str], None]
) -> list[SketchFile]:
    """The sketches as lists divide them."""
    listed: dict[str, Listed] = {f"{class_key(item.class_name)}/{item.number}": item for item in lists.items}
    there: dict[str, FoundSketch] = {
        f"{class_key(sketch.class_name)}/{sketch.number}": sketch for sketch in sketches
    }
    compare(listed, {key: sketch.file for key, sketch in there.items()}, "sketches", lists.files, place, tell)
    files: list[SketchFile] = []
    moved: list[str] = []
    for key, sketch in there.items():
        item = listed.get(key)
        if item is None or item.part is None:
            continue
        if sketch.part not in (None, item.part):
            moved.append(str(sketch.file.place))
        files.append(
            SketchFile(_name(sketch), sketch.class_name, item.part, sketch.file.path, sketch.file.member)
        )
    if moved:
        tell(
            f"{place}: {len(moved):,} sketches lie in the folder of the other part than {' and '.join(lists.files)} "
            f"say, and the lists are followed: {shorten(moved)}"
        )
    return files


def _classes_by_folder(models: Sequence[FoundFile], place: Path, year: Year) -> dict[str, Listed]:
    folders = {file.place.parent for file in models}
    if len(folders) < 2:
        raise DataError(
            f"{place}: {len(models):,} models are there, but nothing tells their classes; put "
            f"SHREC{year}_SBR_Model.cla beside them, which comes with the evaluation code of the track"
        )
    return {
        str(file.place.with_suffix("")): Listed(file.place.parent.name, file.place.stem) for file in models
    }


def _name(sketch: FoundSketch) -> str:
    return f"{sketch.class_name}/{sketch.number}"
