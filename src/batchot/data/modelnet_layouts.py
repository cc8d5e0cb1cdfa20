"""The forms in which ModelNet is at hand: meshes in folders or an archive, clouds in folders or HDF5 files."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from batchot.data.archives import is_clutter, list_archive
from batchot.data.errors import DataError
from batchot.data.shape_files import CLOUD_ENDINGS, MESH_ENDINGS
from batchot.shapes.errors import ShapeError
from batchot.shapes.members import hdf5_labels, read_member
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
CLASSES = (
    "airplane", "bathtub", "bed", "bench", "bookshelf", "bottle", "bowl", "car", "chair", "cone",
    "cup", "curtain", "desk", "door", "dresser", "flower_pot", "glass_box", "guitar", "keyboard", "lamp",
    "laptop", "mantel", "monitor", "night_stand", "person", "piano", "plant", "radio", "range_hood", "sink",
    "sofa", "stairs", "stool", "table", "tent", "toilet", "tv_stand", "vase", "wardrobe", "xbox",
)  # fmt: skip
HDF5_FOLDER = "modelnet40_ply_hdf5_2048"
HDF5_UP: Up = "y"
_HDF5_FILE = re.compile(r"ply_data_(train|test)(\d+)\.h5")


@dataclass(frozen=True)
class FoundShape:
    """A shape of ModelNet: name of its class, official part, and where it lies (without a label)."""

    class_name: str
    part: Part
    source: ShapeSource


def read_class_folders(
    folder: Path, kind: Literal["meshes", "points"], up: Up = "auto"
) -> list[FoundShape] | None:
    """List ``CLASS/train/*`` and ``CLASS/test/*`` under ``folder``.

    Of several endings of the kind the commonest is taken, so that a shape that lies there in two formats
    counts once.

    Returns:
        The shapes, or ``None`` where there is none of that kind.
    """
    wanted = MESH_ENDINGS if kind == "meshes" else CLOUD_ENDINGS
    files: list[tuple[str, Part, Path, str]] = []
    for class_name in CLASSES:
        for part in PARTS:
            place = folder / class_name / part
            try:
                names = sorted(os.listdir(place))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise DataError(f"{place} cannot be listed: {error.strerror or error}") from error
            files += [
                (class_name, part, place, name)
                for name in names
                if name[0] != "." and PurePosixPath(name).suffix.lower() in wanted
            ]
    if not files:
        return None
    ending = _commonest([PurePosixPath(name).suffix.lower() for *_, name in files])
    return [
        FoundShape(
            class_name,
            part,
            ShapeSource(f"{class_name}/{name[: -len(ending)]}", place / name, up=up),
        )
        for class_name, part, place, name in files
        if name.lower().endswith(ending)
    ]


def read_mesh_archive(path: Path, up: Up = "auto") -> list[FoundShape] | None:
    """List ``ModelNet40/CLASS/train/NAME.off`` and the like in a zip archive; nothing is unpacked.

    Returns:
        The shapes, or ``None`` where there is no archive.

    Raises:
        DataError: when the archive is damaged, half downloaded, or holds no such files.
    """
    if not path.is_file():
        return None
    shapes = []
    for member in list_archive(path):
        place = PurePosixPath(member)
        if len(place.parts) < 3 or place.suffix.lower() != ".off" or is_clutter(place):
            continue
        class_name, folder = place.parts[-3:-1]
        part = next((part for part in PARTS if part == folder), None)
        if class_name in CLASSES and part is not None:
            source = ShapeSource(f"{class_name}/{place.stem}", path, member, up=up)
            shapes.append(FoundShape(class_name, part, source))
    if not shapes:
        raise DataError(
            f"{path} holds no CLASS/train/NAME.off of ModelNet; it is another archive, download it again"
        )
    return sorted(shapes, key=lambda shape: (CLASSES.index(shape.class_name), shape.source.name))


def read_hdf5_folder(folder: Path, up: Up = "auto") -> list[FoundShape] | None:
    """List the clouds in ``ply_data_train0.h5`` and so on.

    Returns:
        The clouds in the order in which they are in the files, or ``None`` where there is no such file.

    Raises:
        DataError: when a file is damaged, or has a label without a class.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    files: dict[str, str | None] = {name: None for name in names if _HDF5_FILE.fullmatch(name)}
    texts = {name: (folder / name).read_bytes for name in names if name.endswith((".txt", ".json"))}
    return _read_hdf5(folder, files, texts, up) if files else None


def read_hdf5_archive(path: Path, up: Up = "auto") -> list[FoundShape] | None:
    """List the clouds in the zip archive of the HDF5 files; nothing is unpacked.

    Returns:
        The clouds, or ``None`` where there is no archive.

    Raises:
        DataError: when the archive or a file in it is damaged or half downloaded.
    """
    if not path.is_file():
        return None
    places = [PurePosixPath(member) for member in list_archive(path)]
    places = [place for place in places if not is_clutter(place)]
    files: dict[str, str | None] = {
        place.name: str(place) for place in places if _HDF5_FILE.fullmatch(place.name)
    }
    if not files:
        raise DataError(f"{path} holds no ply_data_train0.h5; it is another archive, download it again")
    texts = {
        place.name: partial(read_member, path, str(place))
        for place in places
        if place.suffix in (".txt", ".json")
    }
    return _read_hdf5(path, files, texts, up)


def _read_hdf5(
    location: Path, files: Mapping[str, str | None], texts: Mapping[str, Callable[[], bytes]], up: Up
) -> list[FoundShape]:
    """The clouds in HDF5 files, each with its member in an archive, and the text files beside them."""
    axis: Up = HDF5_UP if up == "auto" else up
    try:
        classes = _read_lines(texts["shape_names.txt"]()) if "shape_names.txt" in texts else list(CLASSES)
        shapes = []
        for name in sorted(files, key=_in_order):
            match = _HDF5_FILE.fullmatch(name)
            assert match is not None
            part: Part = "train" if match[1] == "train" else "test"
            member = files[name]
            path = location if member is not None else location / name
            labels = hdf5_labels(path, member)
            if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
                raise DataError(
                    f"{location}: {name} has labels from {labels.min()} to {labels.max()}, "
                    f"but there are {len(classes)} classes"
                )
            ids = f"ply_data_{match[1]}_{match[2]}_id2file.json"
            stems = _read_stems(texts[ids](), len(labels)) if ids in texts else None
            for row, label in enumerate(labels):
                stem = f"{match[1]}{match[2]}_{row:04}" if stems is None else stems[row]
                number = str(row) if member is None else f"{member}#{row}"
                source = ShapeSource(f"{classes[label]}/{stem}", path, number, up=axis)
                shapes.append(FoundShape(classes[label], part, source))
    except (ShapeError, OSError) as error:
        raise DataError(str(error)) from error
    return shapes


def _read_stems(content: bytes, count: int) -> list[str] | None:
    """Names of the shapes of a file, as ``chair/chair_0001.ply``; ``None`` where they cannot be used."""
    try:
        stems = [PurePosixPath(str(name)).stem for name in json.loads(content)]
    except (ValueError, TypeError):
        return None
    return stems if len(set(stems)) == count == len(stems) else None


def _read_lines(content: bytes) -> list[str]:
    return content.decode(errors="replace").split()


def _in_order(name: str) -> tuple[bool, int]:
    match = _HDF5_FILE.fullmatch(name)
    assert match is not None
    return match[1] == "test", int(match[2])


def _commonest(endings: Sequence[str]) -> str:
    return Counter(endings).most_common(1)[0][0]
