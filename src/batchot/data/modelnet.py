"""ModelNet10 and ModelNet40: models of household things and vehicles, in 10 and 40 classes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from batchot.data.download import download_file
from batchot.data.errors import DownloadError
from batchot.data.locate import missing_data, search_places
from batchot.data.modelnet_layouts import (
    CLASSES,
    HDF5_FOLDER,
    FoundShape,
    read_class_folders,
    read_hdf5_archive,
    read_hdf5_folder,
    read_mesh_archive,
)
from batchot.data.shape_collection import Prefer, ShapeCollection
from batchot.shapes.shape import Up

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
    """A file as it is published: its name, addresses, length and SHA-256."""

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str


MESHES_40 = PublishedArchive(
    "ModelNet40.zip",
    ("https://modelnet.cs.princeton.edu/ModelNet40.zip", "http://modelnet.cs.princeton.edu/ModelNet40.zip"),
    2_039_180_837,
    "42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
)
MESHES_10 = PublishedArchive(
    "ModelNet10.zip",
    (
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
        "http://vision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
    ),
    473_402_300,
    "9d8679435fc07d1d26f13009878db164a7aa8ea5e7ea3c8880e42794b7307d51",
)
POINTS_40 = PublishedArchive(
    f"{HDF5_FOLDER}.zip",
    (f"https://shapenet.cs.stanford.edu/media/{HDF5_FOLDER}.zip",),
    435_212_151,
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
    """Find ModelNet in a folder of the user, in the cache folder, or on the network.

    Taken are the published archive of meshes (``ModelNet40.zip``) or its content unpacked, the clouds of
    2,048 points as published (``modelnet40_ply_hdf5_2048``, folder or archive), and folders of clouds
    ``CLASS/train/NAME.npy`` (also under ``modelnet40_points/``). Archives are read in place. ModelNet10 is
    also found as the ten classes of ModelNet40, where the same shapes are not turned to a common direction.
    In one folder, what is complete goes before what is not, and then meshes before points.

    Downloads are verified by their SHA-256, what the user put there by the checksum that the archive has of
    each member, as it is read. The published HDF5 files lack three of the 9,843 training shapes.

    Args:
        name: ``"modelnet10"`` or ``"modelnet40"``.
        root: folder that holds a folder of that name, or one of the above; else ``$BATCHOT_DATA``, else the
            cache folder.
        prefer: take ``"meshes"`` or ``"points"`` only, or ``"any"``.
        up: the axis of the files that points up; ``"auto"``: y for the HDF5 files, z for all others.
        download: download into the cache folder when nothing is found: the meshes (2.0 GB, ModelNet10 0.5 GB),
            or the HDF5 files (0.4 GB) where points are preferred.

    Returns:
        The collection with the official division; a warning tells where it is not complete.

    Raises:
        DataError: when it is not found, or an archive is damaged; what was expected, what to do.

    Source:
        Z. Wu et al., "3D ShapeNets: A deep representation for volumetric shapes", CVPR 2015. The SHA-256 of
        the archives are those recorded in TensorFlow Datasets, TensorFlow Graphics and CompressAI.

    Example:
        >>> from batchot.data.modelnet import load_modelnet
        >>> load_modelnet("modelnet40", Path("no-such-folder"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        batchot.data.errors.DataError: --data-root names no-such-folder, which is not a folder; ...
    """
    places = search_places(name, root)
    for group in range(
        0, len(places), 2
    ):  # the two places that each folder of the user gives, then the cache
        if (found := _find(name, root, group, prefer, up)) is not None:
            collection = found.collection(name)
            if not found.is_complete:
                _warn_of_partial(collection, name)
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


def _warn_of_partial(collection: ShapeCollection, name: ModelNetName) -> None:
    train, test = COUNTS[name]
    warnings.warn(
        f"{collection.folder} holds {len(collection.train):,} training and {len(collection.test):,} test "
        f"shapes in {len(collection.classes)} classes, {name} {train:,} and {test:,} in "
        f"{len(CLASSES_OF[name])}: scores on it are not scores on {name}",
        stacklevel=3,
    )


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
