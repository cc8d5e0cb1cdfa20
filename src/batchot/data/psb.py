"""Princeton Shape Benchmark: models divided into a hierarchy of classes by ``.cla`` files."""

from __future__ import annotations

import warnings
from pathlib import Path, PurePosixPath

from batchot.data.errors import DataError
from batchot.data.folder_layout import Part
from batchot.data.locate import missing_data, search_places
from batchot.data.psb_cla import read_cla
from batchot.data.shape_collection import ShapeCollection
from batchot.data.shape_files import SHAPE_ENDINGS, find_shape_files, shorten
from batchot.data.shape_folder import divide
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

PSB_UP: Up = "y"
_PREFERRED = (".off", ".obj", ".ply", ".stl")


def load_psb(
    root: Path | None = None,
    *,
    classification: str = "base",
    level: int | None = None,
    seed: int = 0,
    test_fraction: float = 0.2,
    min_class: int = 1,
    up: Up = "auto",
) -> ShapeCollection:
    """Load the Princeton Shape Benchmark, or models sorted by ``.cla`` files as it has them.

    Looked for are ``classification/v1/base/train.cla`` and ``test.cla`` with the models in
    ``db/12/m1234/m1234.off``, as published; else ``train.cla`` and ``test.cla``, or a single ``.cla`` file
    that is divided by chance, with the models at any depth beside or below it. A model ``1234`` is in the
    file ``m1234`` or ``1234``, of any format. Models that are missing are left out with a warning.

    Args:
        root: folder that holds ``psb/``, ``benchmark/`` or the files themselves; else ``$BATCHOT_DATA``, else
            the cache folder.
        classification: which of the published ones: ``"base"``, ``"coarse1"``, ``"coarse2"``, ``"coarse3"``.
        level: depth at which the hierarchy of classes is cut, 1 or more; by default it is not.
        seed: of the division, where there is one ``.cla`` file only.
        test_fraction: share of each class that is kept for the test there, in (0, 1).
        min_class: classes of fewer shapes, both parts together, are left out.
        up: the axis that points up; ``"auto"``: y, as of most models of the benchmark.

    Returns:
        The collection; classes in alphabetical order. The published training and test part have each some
        classes that the other lacks.

    Raises:
        DataError: when no ``.cla`` file or none of its models is found, or a ``.cla`` file is malformed.

    Source:
        P. Shilane, P. Min, M. Kazhdan, T. Funkhouser, "The Princeton Shape Benchmark", Shape Modeling
        International 2004.

    Example:
        >>> import tempfile
        >>> from batchot.data.psb import load_psb
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = (Path(root) / "all.cla").write_text("PSB 1 1 3 dog 0 3 86 87 88")
        ...     for model in ("m86.off", "m87.off", "m88.off"):
        ...         (Path(root) / model).touch()
        ...     load_psb(Path(root), test_fraction=0.3).count_classes()
        ((2, 1),)
    """
    if level is not None and level < 1:
        raise DataError(f"level must be at least 1, the classes at the top, got {level}")
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    places = search_places("psb", root)
    found = next((found for place in places if (found := _find_cla(place, classification)) is not None), None)
    if found is None:
        contents = f"classification/v1/{classification}/train.cla and test.cla, or one .cla file"
        raise missing_data("psb", contents, places, "it is not offered for download by this package")
    folder, files = found
    models = _index_models(folder)
    axis: Up = PSB_UP if up == "auto" else up
    shapes: list[tuple[str, Part | None, ShapeSource]] = []
    missing: list[str] = []
    for part, path in files:
        for model, class_name in read_cla(path).labelled(level):
            if (file := models.get(model_key(model))) is None:
                missing.append(model)
            else:
                shapes.append(
                    (class_name, part, ShapeSource(f"{class_name}/{model_key(model)}", file, up=axis))
                )
    if not shapes:
        raise DataError(
            f"none of the {len(missing):,} models that {files[0][1]} names is below {folder}: "
            f"{shorten(missing)}; expected files such as m86.off, at any depth"
        )
    if missing:
        warnings.warn(
            f"{folder}: {len(missing):,} of {len(missing) + len(shapes):,} models are missing and left out: "
            f"{shorten(missing)}",
            stacklevel=2,
        )
    return divide("psb", folder, shapes, seed=seed, test_fraction=test_fraction, min_class=min_class)


def _find_cla(place: Path, classification: str) -> tuple[Path, list[tuple[Part | None, Path]]] | None:
    """The folder with everything in it, and the ``.cla`` files in or below it, each with its part."""
    for folder in (place, place / "benchmark", place / "psb_v1" / "benchmark"):
        classifications = folder / "classification"
        for files in (classifications / "v1" / classification, classifications / classification, folder):
            train, test = files / "train.cla", files / "test.cla"
            if train.is_file() and test.is_file():
                return folder, [("train", train), ("test", test)]
        single = sorted(path for path in folder.glob("*.cla") if not path.name.startswith("."))
        if len(single) == 1:
            return folder, [(None, single[0])]
        if single:
            raise DataError(
                f"{folder} has {len(single)} .cla files ({shorten([path.name for path in single])}); "
                "expected one, or train.cla and test.cla"
            )
    return None


def _index_models(folder: Path) -> dict[str, Path]:
    """The file of each model by the key of its name; of several formats OFF goes first, then OBJ."""
    place = folder / "db" if (folder / "db").is_dir() else folder
    best: dict[str, PurePosixPath] = {}
    for path in find_shape_files(place).shapes:
        key = model_key(path.name)
        if key not in best or _rank(path) < _rank(best[key]):
            best[key] = path
    return {key: place / path for key, path in best.items()}


def _rank(path: PurePosixPath) -> int:
    ending = path.suffix.lower()
    return _PREFERRED.index(ending) if ending in _PREFERRED else len(_PREFERRED)


def model_key(model: str) -> str:
    """The same for all ways to write the name of a model.

    Example:
        >>> from batchot.data.psb import model_key
        >>> [model_key(name) for name in ("m7.off", "M000007", "7", "gear.obj")]
        ['7', '7', '7', 'gear']
    """
    stem = PurePosixPath(model).stem if _has_ending(model) else model
    digits = stem[1:] if stem[:1] in ("m", "M") else stem
    return str(int(digits)) if digits.isascii() and digits.isdigit() else stem


def _has_ending(model: str) -> bool:
    return PurePosixPath(model).suffix.lower() in SHAPE_ENDINGS
