"""Small data sets of shapes in the layouts in which the real ones are published."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from batchot.data.sets.shape_files import ShapeCollection

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
Counts = Mapping[str, tuple[int, int]]


def box_off(width: float = 1.0, depth: float = 1.0, height: float = 1.0, header: str = "OFF\n") -> bytes:
    """An OFF file of a box, its sides not yet cut into triangles."""
    vertices = "".join(f"{x} {y} {z}\n" for x, y, z in CORNERS * (width, depth, height))
    faces = "".join(f"4 {a} {b} {c} {d}\n" for a, b, c, d in SIDES)
    return f"{header}8 6 0\n{vertices}{faces}".encode()


def box_obj(width: float = 1.0, depth: float = 1.0, height: float = 1.0) -> bytes:
    """An OBJ file of a box."""
    vertices = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS * (width, depth, height))
    faces = "".join("f " + " ".join(str(k + 1) for k in side) + "\n" for side in SIDES)
    return (vertices + faces).encode()


def cloud(seed: int, points: int = 32) -> NDArray[np.float32]:
    """Points of no particular shape, about as large as those of ModelNet."""
    return np.random.default_rng(seed).normal(scale=0.3, size=(points, 3)).astype(np.float32)


def modelnet_paths(counts: Counts) -> Iterator[str]:
    """``CLASS/train/CLASS_0001`` and so on, numbered through both parts as ModelNet is."""
    for name, (train, test) in counts.items():
        for k in range(train + test):
            yield f"{name}/{'train' if k < train else 'test'}/{name}_{k + 1:04}"


def write_modelnet_folder(folder: Path, counts: Counts) -> Path:
    """The content of ``ModelNet40.zip``, unpacked."""
    for k, path in enumerate(modelnet_paths(counts)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        # Every other file has the counts glued to the first word, as many of the real ones have.
        (folder / f"{path}.off").write_bytes(box_off(height=1 + k, header="OFF" if k % 2 else "OFF\n"))
    return folder


def write_modelnet_zip(path: Path, counts: Counts) -> Path:
    """``ModelNet40.zip`` with what the computer of its authors added."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}/", b"")
        archive.writestr(f"{path.stem}/.DS_Store", b"\0\0\0\1Bud1")
        archive.writestr(f"{path.stem}/README.txt", b"ModelNet")
        for k, member in enumerate(modelnet_paths(counts)):
            archive.writestr(f"{path.stem}/{member}.off", box_off(height=1 + k))
            place, _, name = member.rpartition("/")
            archive.writestr(f"__MACOSX/{path.stem}/{place}/._{name}.off", b"\0\5\x16\7")
    return path


def write_point_folder(folder: Path, counts: Counts, points: int = 32) -> Path:
    """``CLASS/train/CLASS_0001.npy`` and so on; cloud k of all is ``cloud(k)``."""
    for k, path in enumerate(modelnet_paths(counts)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{path}.npy", cloud(k, points))
    return folder


def write_hdf5_folder(
    folder: Path, classes: list[str], labels: Mapping[str, list[int]], points: int = 32
) -> Path:
    """``ply_data_train0.h5`` and so on, with the text files beside them; cloud k of all is ``cloud(k)``.

    ``labels`` has the classes of the clouds of each file, e.g. of ``"train0"``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shape_names.txt").write_text("".join(f"{name}\n" for name in classes))
    for part in ("train", "test"):
        files = [name for name in labels if name.startswith(part)]
        lines = "".join(f"data/modelnet40_ply_hdf5_2048/ply_data_{name}.h5\n" for name in files)
        (folder / f"{part}_files.txt").write_text(lines)
    k = 0
    for name, of_file in labels.items():
        with h5py.File(folder / f"ply_data_{name}.h5", "w") as file:
            clouds = np.stack([cloud(k + i, points) for i in range(len(of_file))])
            file.create_dataset("data", data=clouds, compression="gzip", chunks=(1, points, 3))
            file.create_dataset("label", data=np.array(of_file, np.uint8)[:, None], compression="gzip")
        ids = [f"{classes[label]}/{classes[label]}_{k + i + 1:04}.ply" for i, label in enumerate(of_file)]
        part, number = name[:-1], name[-1]
        (folder / f"ply_data_{part}_{number}_id2file.json").write_text(json.dumps(ids))
        k += len(of_file)
    return folder


def pack(folder: Path, path: Path) -> Path:
    """The folder in a zip archive, under its own name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{folder.name}/{file.relative_to(folder).as_posix()}")
    return path


def cla_text(classes: list[tuple[str, str, list[str]]], end: str = "\n") -> str:
    """A ``.cla`` file of classes, each with its name, the one above it and its models."""
    blocks = [
        f"{name} {parent} {len(models)}{end}" + end.join(models) + end for name, parent, models in classes
    ]
    count = sum(len(models) for _, _, models in classes)
    return f"PSB 1{end}{len(classes)} {count}{end}{end}" + end.join(blocks)


def write_psb_models(folder: Path, models: list[int]) -> None:
    """``db/12/m1234/m1234.off`` and so on, with the text and picture that lie beside each."""
    for k, model in enumerate(models):
        place = folder / "db" / str(model // 100) / f"m{model}"
        place.mkdir(parents=True)
        (place / f"m{model}.off").write_bytes(box_off(height=1 + k))
        (place / f"m{model}_info.txt").write_text("mid: 789")
        (place / f"m{model}_thumb.jpg").write_bytes(b"\xff\xd8\xff")


def count_classes(collection: ShapeCollection) -> tuple[tuple[int, int], ...]:
    """Number of training and of test shapes of each class."""
    train, test = ([source.label for source in part] for part in (collection.train, collection.test))
    return tuple((train.count(label), test.count(label)) for label in range(len(collection.classes)))
