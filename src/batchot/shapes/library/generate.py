"""From the name of a class and a seed to a mesh, and a folder of them sorted as ModelNet is."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from batchot.errors import ShapeError
from batchot.shapes.library import building, electrics, music, seating, tables, vehicles, vessels
from batchot.shapes.library.part import Dice, Part, join, spoil
from batchot.shapes.shape import Mesh

GENERATOR_VERSION = 1
"""Raised whenever a shape of some class and seed changes, so that libraries on disk are written anew."""

_MADE: tuple[Callable[[Dice], list[Part]], ...] = (
    vehicles.airplane, seating.armchair, seating.bed, seating.bench, tables.bookshelf, vessels.bottle,
    vessels.bowl, vehicles.car, seating.chair, vessels.cup, tables.desk, electrics.desk_lamp, building.door,
    electrics.floor_lamp, music.guitar, electrics.laptop, electrics.monitor, seating.sofa, building.stairs,
    seating.stool, tables.table, vehicles.truck, vessels.vase, music.violin, tables.wardrobe,
)  # fmt: skip
_MAKERS = MappingProxyType({maker.__name__: maker for maker in _MADE})

CLASS_NAMES: tuple[str, ...] = tuple(_MAKERS)
"""The classes of the built-in library, in alphabetical order."""


def check_class(class_name: str) -> None:
    """Raise :class:`ShapeError` with the nearest name if the library has no such class."""
    if class_name in _MAKERS:
        return
    near = difflib.get_close_matches(class_name.lower(), CLASS_NAMES, 1, 0.0)[0]
    raise ShapeError(
        f"the built-in library has no class {class_name!r}; did you mean {near!r}? "
        f"Its classes are {', '.join(CLASS_NAMES)}"
    )


def generate_shape(class_name: str, seed: int) -> Mesh:
    """A man-made thing, about metres, z up, front towards -y; the same class and seed give the same bits anywhere."""
    check_class(class_name)
    dice = Dice(class_name, seed)
    parts = _MAKERS[class_name](dice)
    whole = join(spoil(dice, parts))
    stretch = [dice.between(0.8, 1.25) for _ in range(3)]
    vertices = whole.vertices * np.array(stretch)
    vertices[:, 2] -= vertices[:, 2].min()
    # Machines differ in the last bit of a sine; on a grid of a micrometre they do not.
    vertices = np.round(vertices, 6) + 0.0
    corners = vertices[whole.faces]
    flat = (corners == np.roll(corners, 1, axis=1)).all(axis=2).any(axis=1)
    return Mesh(vertices, whole.faces[~flat])


MANIFEST = "library.json"
_SEEDS_APART = 1_000_000  # so that libraries with different seeds share no shape


def off_bytes(mesh: Mesh) -> bytes:
    """The mesh as an OFF file, six digits after the point, which is all that a generated mesh has."""
    vertices = ("%.6f %.6f %.6f\n" * len(mesh.vertices)) % tuple(mesh.vertices.ravel().tolist())
    faces = ("3 %d %d %d\n" * len(mesh.faces)) % tuple(mesh.faces.ravel().tolist())
    return f"OFF\n{len(mesh.vertices)} {len(mesh.faces)} 0\n{vertices}{faces}".encode()


def _plan(classes: Sequence[str], per_class: int, test_fraction: float) -> Iterator[tuple[str, str, int]]:
    """Path below the folder, class and number of every shape; the last ones of a class are the test set."""
    test = round(per_class * test_fraction)
    for name in classes:
        for number in range(1, per_class + 1):
            split = "train" if number <= per_class - test else "test"
            yield f"{name}/{split}/{name}_{number:04d}.off", name, number


def _write(path: Path, content: bytes) -> None:
    """Under another name first, so that no reader ever sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        advice = "make room on that disk or choose another folder"
        raise OSError(error.errno, f"{error.strerror}; {advice}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _read_manifest(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of a library, and digests of the files that it wrote by path; empty where there is no manifest."""
    if not path.exists():
        return {}, {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return settings, {str(name): str(digest) for name, digest in settings.pop("files").items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShapeError(
            f"{path}: not the manifest of a built-in library ({error}); delete the folder and write it again"
        ) from error


def write_library(
    folder: Path | str,
    *,
    per_class: int = 60,
    test_fraction: float = 0.25,
    seed: int = 0,
    classes: Sequence[str] = CLASS_NAMES,
) -> Path:
    """Write the built-in library as ``folder/CLASS/{train,test}/CLASS_0001.off``, where it is not there as asked for.

    Shape ``k`` of a class is ``generate_shape(name, 1_000_000 * seed + k)``; the manifest, ``library.json``, is written
    before the files that it promises, so that an interrupted call is finished by the next.
    """
    if not 1 <= per_class < _SEEDS_APART:
        raise ValueError(f"per_class must lie in 1 .. {_SEEDS_APART - 1}, got {per_class}")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction must lie in 0 .. 1, 1 excluded, got {test_fraction}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    for name in classes:
        check_class(name)
    folder = Path(folder)
    written, known = _read_manifest(folder / MANIFEST)
    shapes = list(_plan(classes, per_class, test_fraction))
    for path, _, _ in shapes:
        if path not in known and (folder / path).exists():
            raise ShapeError(f"{folder / path}: is there and not from this library; choose another folder")
    settings = {"generator": GENERATOR_VERSION, "seed": seed}
    same = known and {key: written.get(key) for key in settings} == settings
    digests = {path: known.get(path, "") if same else "" for path, _, _ in shapes}
    if not same or digests != known:
        # Promise the names first: after an interruption they are known to be ours.
        _write_manifest(folder, settings, dict.fromkeys(known, "") | digests)
    for path, name, number in shapes:
        target = folder / path
        if digests[path] and target.exists() and _digest(target.read_bytes()) == digests[path]:
            continue
        content = off_bytes(generate_shape(name, seed * _SEEDS_APART + number))
        _write(target, content)
        digests[path] = _digest(content)
    for path in known.keys() - digests.keys():
        (folder / path).unlink(missing_ok=True)
    if not same or digests != known:
        _write_manifest(folder, settings, digests)
    return folder


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_manifest(folder: Path, settings: dict[str, int], digests: dict[str, str]) -> None:
    content = json.dumps({**settings, "files": digests}, indent=1)
    _write(folder / MANIFEST, content.encode())
