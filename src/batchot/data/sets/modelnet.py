"""ModelNet10 and 40 in the layouts in which they are published."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from batchot.data.sets.places import download_file, is_clutter, list_archive, missing_data, search_places
from batchot.data.sets.shape_files import CLOUD_ENDINGS, MESH_ENDINGS, PARTS, Part, Prefer, ShapeCollection
from batchot.errors import DataError, DownloadError, ShapeError
from batchot.shapes.formats.archives import hdf5_labels, read_member
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

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
    """List ``CLASS/train/*`` and ``CLASS/test/*`` under ``folder``."""
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
    ending = Counter(PurePosixPath(name).suffix.lower() for *_, name in files).most_common(1)[0][0]
    return [
        FoundShape(class_name, part, ShapeSource(f"{class_name}/{name[: -len(ending)]}", place / name, up=up))
        for class_name, part, place, name in files
        if name.lower().endswith(ending)
    ]


def read_mesh_archive(path: Path, up: Up = "auto") -> list[FoundShape] | None:
    """List ``ModelNet40/CLASS/train/NAME.off`` and the like in a zip archive; nothing is unpacked."""
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
    """List the clouds in ``ply_data_train0.h5`` and so on."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    files: dict[str, str | None] = {name: None for name in names if _HDF5_FILE.fullmatch(name)}
    texts = {name: (folder / name).read_bytes for name in names if name.endswith((".txt", ".json"))}
    return _read_hdf5(folder, files, texts, up) if files else None


def read_hdf5_archive(path: Path, up: Up = "auto") -> list[FoundShape] | None:
    """List the clouds in the zip archive of the HDF5 files; nothing is unpacked."""
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
        classes = list(CLASSES)
        if "shape_names.txt" in texts:
            classes = texts["shape_names.txt"]().decode(errors="replace").split()
        shapes = []
        matches = (match for name in files if (match := _HDF5_FILE.fullmatch(name)) is not None)
        for match in sorted(matches, key=lambda match: (match[1] == "test", int(match[2]))):
            part: Part = "train" if match[1] == "train" else "test"
            name, member = match[0], files[match[0]]
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


logger = logging.getLogger(__name__)

ModelNetName = Literal["modelnet10", "modelnet40"]
PointsOrMeshes = Literal["meshes", "points"]
CLASSES_10 = (
    "bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet"
)  # fmt: skip
CLASSES_OF: dict[ModelNetName, tuple[str, ...]] = {"modelnet10": CLASSES_10, "modelnet40": CLASSES}
COUNTS: dict[ModelNetName, tuple[int, int]] = {"modelnet10": (3_991, 908), "modelnet40": (9_843, 2_468)}
HDF5_COUNTS = (9_840, 2_468)


@dataclass(frozen=True)
class PublishedArchive:
    """A file as it is published: its name, addresses and SHA-256."""

    name: str
    urls: tuple[str, ...]
    sha256: str


MESHES_40 = PublishedArchive(
    "ModelNet40.zip",
    ("https://modelnet.cs.princeton.edu/ModelNet40.zip", "http://modelnet.cs.princeton.edu/ModelNet40.zip"),
    "42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
)
MESHES_10 = PublishedArchive(
    "ModelNet10.zip",
    (
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
        "http://vision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
    ),
    "9d8679435fc07d1d26f13009878db164a7aa8ea5e7ea3c8880e42794b7307d51",
)
POINTS_40 = PublishedArchive(
    f"{HDF5_FOLDER}.zip",
    (f"https://shapenet.cs.stanford.edu/media/{HDF5_FOLDER}.zip",),
    "07670e237db72ece0f723b9abb571534c9ad655a6456b389646587dc72bb8bae",
)


def load_modelnet(
    name: ModelNetName,
    root: Path | None = None,
    *,
    prefer: Prefer = "any",
    up: Up = "auto",
    download: bool = True,
) -> ShapeCollection:
    """Find ModelNet in a folder of the user, in the cache folder, or on the network."""
    places = search_places(name, root)
    # the two places that each folder of the user gives, then the cache
    for group in range(0, len(places), 2):
        if (found := _find(name, root, group, prefer, up)) is not None:
            collection = found.collection(name)
            if not found.is_complete:
                train, test = COUNTS[name]
                warnings.warn(
                    f"{collection.folder} holds {len(collection.train):,} training and {len(collection.test):,} "
                    f"test shapes in {len(collection.classes)} classes, {name} {train:,} and {test:,} in "
                    f"{len(CLASSES_OF[name])}: scores on it are not scores on {name}",
                    stacklevel=2,
                )
            return collection
    contents = _expected(name, prefer)
    if not download:
        raise missing_data(name, contents, places, "download is switched off")
    if prefer == "points":
        archive, home = POINTS_40, search_places("modelnet40", root)[-1]
    else:
        archive, home = (MESHES_10 if name == "modelnet10" else MESHES_40), places[-1]
    try:
        download_file(archive.urls, archive.sha256, home / archive.name, timeout=60.0)
    except DownloadError as failure:
        raise missing_data(name, contents, places, str(failure)) from failure
    return load_modelnet(name, root, prefer=prefer, up=up, download=False)


@dataclass(frozen=True)
class _Found:
    """ModelNet, or a part of it, in one place; of ``ModelNet40`` also the ten classes only."""

    location: Path
    kind: PointsOrMeshes
    shapes: list[FoundShape]
    is_complete: bool

    def collection(self, name: ModelNetName) -> ShapeCollection:
        present = {shape.class_name for shape in self.shapes}
        classes = tuple(class_name for class_name in CLASSES_OF[name] if class_name in present)
        label = {class_name: k for k, class_name in enumerate(classes)}
        train, test = (
            tuple(
                replace(shape.source, label=label[shape.class_name])
                for shape in self.shapes
                if shape.part == part
            )
            for part in ("train", "test")
        )
        return ShapeCollection(name, classes, train, test, self.kind, self.location)


def _find(name: ModelNetName, root: Path | None, group: int, prefer: Prefer, up: Up) -> _Found | None:
    """What is complete in one or two places, else what is most of it."""
    most: _Found | None = None
    for found in _search(name, root, group, prefer, up):
        if found.is_complete:
            if most is not None:
                logger.info("%s is taken, %s is not complete", found.location, most.location)
            return found
        if most is None or len(found.shapes) > len(most.shapes):
            most = found
    return most


def _search(name: ModelNetName, root: Path | None, group: int, prefer: Prefer, up: Up) -> Iterator[_Found]:
    kinds: tuple[PointsOrMeshes, ...] = ("meshes", "points") if prefer == "any" else (prefer,)
    sources: tuple[ModelNetName, ...] = (name, "modelnet40") if name == "modelnet10" else (name,)
    for source in sources:
        for place in search_places(source, root)[group : group + 2]:
            for kind in kinds:
                for location, shapes in _read_place(source, place, kind, up):
                    if shapes is None:
                        continue
                    wanted = [shape for shape in shapes if shape.class_name in CLASSES_OF[name]]
                    as_published = shapes[0].source.is_row and _count(shapes) == HDF5_COUNTS
                    if wanted:
                        yield _Found(location, kind, wanted, as_published or _count(wanted) == COUNTS[name])


def _count(shapes: list[FoundShape]) -> tuple[int, int]:
    train = sum(shape.part == "train" for shape in shapes)
    return train, len(shapes) - train


def _read_place(
    source: ModelNetName, place: Path, kind: PointsOrMeshes, up: Up
) -> Iterator[tuple[Path, list[FoundShape] | None]]:
    published = source.replace("modelnet", "ModelNet")
    if kind == "meshes":
        for folder in (place / published, place):
            yield folder, read_class_folders(folder, "meshes", up)
        archive = place / f"{published}.zip"
        yield archive, read_mesh_archive(archive, up)
        return
    if source == "modelnet40":
        for folder in (place / HDF5_FOLDER, place):
            yield folder, read_hdf5_folder(folder, up)
        archive = place / f"{HDF5_FOLDER}.zip"
        yield archive, read_hdf5_archive(archive, up)
    for folder in (place / f"{source}_points", place / published, place):
        yield folder, read_class_folders(folder, "points", up)


def _expected(name: ModelNetName, prefer: Prefer) -> str:
    published = name.replace("modelnet", "ModelNet")
    meshes = f"{published}.zip, {published}/CLASS/train/NAME.off"
    points = f"{HDF5_FOLDER}/ or its zip, {name}_points/CLASS/train/NAME.npy"
    return {"meshes": meshes, "points": points, "any": f"{meshes}, {points}"}[prefer]
