"""A shard of rendered views: a tar file as WebDataset has them, with the place of each sample known without reading it.

The members of sample 17 are ``00000017.npy`` (views, uint8 ``(v, c, h, w)``) and ``00000017.json`` (name, class, label,
part and the SHA-256 of the shape's file). Equal samples make equal bytes: nothing of the writer or the time is kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from batchot.shapes.atomic import ViewCacheError
from batchot.shapes.view_cache import view_id
from batchot.shapes.view_file import ViewShape, npy_header

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource
    from batchot.shapes.view_cache import ViewCache

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class ShardTask:
    """A shard to be written.

    Args:
        path: of the tar file
        part: "train" or "test"
        first: number of its first sample
        sources: its samples, in order
        classes: names of all classes
        cache: holds their views, and need not hold others
    """

    path: Path
    part: str
    first: int
    sources: tuple[ShapeSource, ...]
    classes: tuple[str, ...]
    cache: ViewCache


class Written(NamedTuple):
    """A shard that is there: its bytes, and of each sample where its pixels begin and their SHA-256."""

    n_bytes: int
    offsets: tuple[int, ...]
    checksums: tuple[bytes, ...]


class ShardWriter:
    """Writes shards, whole or not at all; one that is there as planned is left as it is."""

    def __call__(self, task: ShardTask) -> Written:
        """Write a shard.

        Raises:
            ViewCacheError: views are missing, or the disk is full
        """
        if (there := _as_planned(task)) is not None:
            return there
        temporary = task.path.with_name(f".{task.path.name}.{os.getpid()}.part")
        try:
            with open(temporary, "wb") as file:
                offsets, checksums = _write(file, task)
                file.flush()
                os.fsync(file.fileno())
                n_bytes = file.tell()
            temporary.replace(task.path)
        except OSError as error:
            raise ViewCacheError(
                f"{task.path} cannot be written: {error.strerror or error}; make room there or choose another folder"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        return Written(n_bytes, tuple(offsets), tuple(checksums))

    def close(self) -> None:
        """Nothing is held."""


def _write(file: io.BufferedWriter, task: ShardTask) -> tuple[list[int], list[bytes]]:
    offsets, checksums = [], []
    shape = task.cache.settings.view_shape
    header = npy_header(shape)
    for number, source in enumerate(task.sources, task.first):
        key = f"{number:08d}"
        views = np.ascontiguousarray(task.cache.load(source))
        _member(file, f"{key}.json", [_about(task, source)])
        offsets.append(_member(file, f"{key}.npy", [header, views.data.cast("B")]) + len(header))
        checksums.append(hashlib.sha256(views.data).digest())
    file.write(bytes(2 * _BLOCK))
    file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
    return offsets, checksums


def _about(task: ShardTask, source: ShapeSource) -> bytes:
    about = {
        "name": source.name,
        "class": task.classes[source.label],
        "label": source.label,
        "part": task.part,
        "content": task.cache.keys[view_id(source)],
    }
    return json.dumps(about).encode()


def _as_planned(task: ShardTask) -> Written | None:
    """The shard if it is there and whole, as an interrupted command has left it."""
    header = npy_header(task.cache.settings.view_shape)
    size = len(header) + int(np.prod(task.cache.settings.view_shape))
    offsets, checksums = [], []
    try:
        with tarfile.open(task.path, "r:") as tar:
            for number, source in enumerate(task.sources, task.first):
                about, views = (_next(tar, f"{number:08d}.{ending}") for ending in ("json", "npy"))
                if about is None or views is None or about[1] != _about(task, source):
                    return None
                offset, data = views
                if len(data) != size or not data.startswith(header):
                    return None
                offsets.append(offset + len(header))
                checksums.append(hashlib.sha256(memoryview(data)[len(header) :]).digest())
            if tar.next() is not None:
                return None
        n_bytes = task.path.stat().st_size
    except (OSError, tarfile.TarError):
        return None
    return Written(n_bytes, tuple(offsets), tuple(checksums)) if n_bytes % tarfile.RECORDSIZE == 0 else None


def _next(tar: tarfile.TarFile, name: str) -> tuple[int, bytes] | None:
    """Where the content of the next member begins, and the content; None where it is another one."""
    member = tar.next()
    content = None if member is None or member.name != name else tar.extractfile(member)
    return None if content is None or member is None else (member.offset_data, content.read())


def _member(file: io.BufferedWriter, name: str, content: Sequence[bytes | memoryview]) -> int:
    """Append a member; where its content begins."""
    info = tarfile.TarInfo(name)
    info.size = sum(len(part) for part in content)
    file.write(info.tobuf(tarfile.USTAR_FORMAT))
    start = file.tell()
    for part in content:
        file.write(part)
    file.write(bytes(-info.size % _BLOCK))
    return start


def sample_bytes(shape: ViewShape) -> int:
    """About how many bytes a sample takes in a shard.

    >>> sample_bytes((1, 1, 64, 64))
    6144
    """
    pixels = int(np.prod(shape)) + len(npy_header(shape))
    return 3 * _BLOCK + pixels + -pixels % _BLOCK
