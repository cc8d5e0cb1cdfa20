"""What a folder of shards holds: ``shards.json``, and ``samples.npz`` with a row a sample."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.data.errors import DataError
from batchot.shapes.atomic import write_whole
from batchot.shapes.view_file import ViewShape

INDEX, SAMPLES = "shards.json", "samples.npz"
_FORMAT = 1
AGAIN = "write it again with batchot render FOLDER --shards"


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Args:
        file: name in the folder
        part: "train" or "test"
        samples: how many
        bytes: of the file; 0 before it is written
    """

    file: str
    part: str
    samples: int
    bytes: int = 0


@dataclass(frozen=True)
class ShardIndex:
    """All but the rows of the samples.

    Args:
        name: of the collection
        classes: names; labels are indices into them
        cameras: their name
        settings: all that determines the pixels, see `ViewSettings.description`
        view_shape: of each sample, (v, c, h, w)
        plan: hexadecimal digest of what the shards are to hold
        shards: in the order of the samples
        samples_sha256: of ``samples.npz``; empty until all shards are written
    """

    name: str
    classes: tuple[str, ...]
    cameras: str
    settings: dict[str, Any]
    view_shape: ViewShape
    plan: str
    shards: tuple[Shard, ...]
    samples_sha256: str = ""

    def write(self, folder: Path) -> None:
        """Write ``shards.json``, whole or not at all."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1)
        write_whole(folder / INDEX, [text.encode(), b"\n"])

    @classmethod
    def read(cls, folder: Path) -> ShardIndex:
        """Read it.

        Raises:
            DataError: there is none, or it is damaged
        """
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
    """What is known of each sample without reading it.

    Args:
        names: of the shapes
        labels: int64 (n,)
        offsets: where the pixels begin in the file of the shard, int64 (n,)
        checksums: SHA-256 of the pixels, uint8 (n, 32)
        contents: SHA-256 of the file of the shape, hexadecimal; with its axis where the collection says one
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    offsets: NDArray[np.int64]
    checksums: NDArray[np.uint8]
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
        """Read them.

        Raises:
            DataError: they are missing or damaged
        """
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
