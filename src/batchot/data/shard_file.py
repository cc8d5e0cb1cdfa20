"""Tar files of rendered views and their index."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchot.errors import DataError
from batchot.files import write_whole
from batchot.shapes.views.cache import ViewShape, npy_header, view_id

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource
    from batchot.shapes.views.cache import ViewCache

INDEX, SAMPLES = "shards.json", "samples.npz"
_FORMAT = 1
AGAIN = "write it again with batchot render FOLDER --shards"


@dataclass(frozen=True)
class Shard:
    """One tar file."""

    file: str  # name in the folder
    part: str  # "train" or "test"
    samples: int  # how many
    bytes: int = 0  # of the file; 0 before it is written


@dataclass(frozen=True)
class ShardIndex:
    """All but the rows of the samples."""

    name: str  # of the collection
    classes: tuple[str, ...]  # names; labels are indices into them
    cameras: str  # their name
    settings: dict[str, Any]  # all that determines the pixels, see `ViewSettings.description`
    view_shape: ViewShape  # of each sample, (v, c, h, w)
    plan: str  # hexadecimal digest of what the shards are to hold
    shards: tuple[Shard, ...]  # in the order of the samples
    samples_sha256: str = ""  # of ``samples.npz``; empty until all shards are written

    def write(self, folder: Path) -> None:
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1)
        write_whole(folder / INDEX, [text.encode(), b"\n"])

    @classmethod
    def read(cls, folder: Path) -> ShardIndex:
        path = folder / INDEX
        try:
            read = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise DataError(f"{folder} holds no shards ({INDEX} is missing); {AGAIN} {folder}") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}); {AGAIN} {folder}") from error
        try:
            version = read.pop("format")
            if version != _FORMAT:
                raise DataError(f"{path} is of format {version}, this version of batchot reads {_FORMAT}")
            shards = tuple(Shard(**shard) for shard in read.pop("shards"))
            classes, view_shape = tuple(read.pop("classes")), tuple(read.pop("view_shape"))
            return cls(shards=shards, classes=classes, view_shape=view_shape, **read)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error}); {AGAIN} {folder}") from error


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of each sample without reading it."""

    names: tuple[str, ...]  # of the shapes
    labels: NDArray[np.int64]  # int64 (n,)
    offsets: NDArray[np.int64]  # where the pixels begin in the file of the shard, int64 (n,)
    checksums: NDArray[np.uint8]  # SHA-256 of the pixels, uint8 (n, 32)
    # SHA-256 of the file of the shape, hexadecimal; with its axis where the collection says one
    contents: tuple[str, ...]

    def write(self, folder: Path) -> str:
        """Write ``samples.npz``, whole or not at all; its SHA-256."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            names=_joined(self.names),
            labels=self.labels,
            offsets=self.offsets,
            checksums=self.checksums,
            contents=_joined(self.contents),
        )
        write_whole(folder / SAMPLES, [buffer.getvalue()])
        return hashlib.sha256(buffer.getvalue()).hexdigest()

    @classmethod
    def read(cls, folder: Path, sha256: str) -> Rows:
        path = folder / SAMPLES
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}); {AGAIN} {folder}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(f"{path} is damaged or of other shards; {AGAIN} {folder}")
        with np.load(io.BytesIO(data), allow_pickle=False) as read:
            names, contents = (_parted(read[key]) for key in ("names", "contents"))
            return cls(names, read["labels"], read["offsets"], read["checksums"], contents)


def _joined(texts: tuple[str, ...]) -> NDArray[np.uint8]:
    # An array of strings would give each the room of the longest.
    return np.frombuffer("\0".join(texts).encode(errors="surrogateescape"), np.uint8)


def _parted(data: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(data.tobytes().decode(errors="surrogateescape").split("\0")) if len(data) else ()


_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class ShardTask:
    """A shard to be written."""

    path: Path  # of the tar file
    part: str  # "train" or "test"
    first: int  # number of its first sample
    sources: tuple[ShapeSource, ...]  # its samples, in order
    classes: tuple[str, ...]  # names of all classes
    cache: ViewCache  # holds their views, and need not hold others


class Written(NamedTuple):
    """A shard that is there: its bytes, and of each sample where its pixels begin and their SHA-256."""

    n_bytes: int
    offsets: tuple[int, ...]
    checksums: tuple[bytes, ...]


class ShardWriter:
    """Writes shards, whole or not at all; one that is there as planned is left as it is."""

    def __call__(self, task: ShardTask) -> Written:
        if (there := _as_planned(task)) is not None:
            return there
        offsets: list[int] = []
        checksums: list[bytes] = []
        write_whole(task.path, _content(task, offsets, checksums))
        return Written(task.path.stat().st_size, tuple(offsets), tuple(checksums))


def _content(task: ShardTask, offsets: list[int], checksums: list[bytes]) -> Iterator[bytes | memoryview]:
    """Parts of the file; where the pixels of each sample begin, and their SHA-256, are noted as they are given."""
    header, end = npy_header(task.cache.settings.view_shape), 0
    for number, source in enumerate(task.sources, task.first):
        views = np.ascontiguousarray(task.cache.load(source))
        checksums.append(hashlib.sha256(views.data).digest())
        about: list[bytes | memoryview] = [_about(task, source)]
        pixels: list[bytes | memoryview] = [header, views.data.cast("B")]
        for ending, content in (("json", about), ("npy", pixels)):
            member = _member(f"{number:08d}.{ending}", content)
            start, end = end + len(member[0]), end + sum(map(len, member))
            yield from member
        offsets.append(start + len(header))
    yield bytes(2 * _BLOCK + -(end + 2 * _BLOCK) % tarfile.RECORDSIZE)


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


def _member(name: str, content: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    info = tarfile.TarInfo(name)
    info.size = sum(len(part) for part in content)
    return [info.tobuf(tarfile.USTAR_FORMAT), *content, bytes(-info.size % _BLOCK)]


def sample_bytes(shape: ViewShape) -> int:
    """About how many bytes a sample takes in a shard."""
    pixels = int(np.prod(shape)) + len(npy_header(shape))
    return 3 * _BLOCK + pixels + -pixels % _BLOCK
