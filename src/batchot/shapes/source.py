"""Where a shape of a collection lies: in a file of its own, in an archive, or as a row of an HDF5 file."""

from __future__ import annotations

import hashlib
import io
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.formats.archives import HDF5_ENDINGS, hdf5_rows, read_member, read_row, split_row
from batchot.shapes.formats.cad import CadSettings, part_content
from batchot.shapes.formats.points import parse_npy
from batchot.shapes.formats.read import ENDINGS, MAX_BYTES, load_shape, read_shape
from batchot.shapes.shape import Shape, Up


@dataclass(frozen=True)
class ShapeSource:
    """One shape of a collection: what it is called, where it lies and what it is."""

    name: str  # readable and unique in its collection, such as ``"chair/chair_0001"``
    path: Path  # the file; or the archive or HDF5 file that holds the shape
    # name of the file in a zip archive; number of the cloud in an HDF5 file (``"17"``); both, with ``#`` between,
    # for an HDF5 file in an archive; number of the part of a STEP assembly; ``None`` for a file of its own
    member: str | None = None
    label: int = 0  # index of its class
    up: Up = "auto"  # the axis of the file that points up; ``"auto"`` is what its format says
    tolerance: float | None = None  # of STEP and IGES files, see ``CadSettings``; ``None``: what that says

    @property
    def is_row(self) -> bool:
        """Whether the shape is a row of an HDF5 file."""
        if self.member is None:
            return False
        return self.path.suffix.lower() in HDF5_ENDINGS or "#" in self.member

    @property
    def is_part(self) -> bool:
        """Whether the shape is a part of a STEP assembly."""
        return self.member is not None and ENDINGS.get(self.path.suffix.lower()) == "step"

    @property
    def cad(self) -> CadSettings:
        """How fine the triangles of STEP and IGES files are."""
        return CadSettings.of(self.tolerance)

    @property
    def ending(self) -> str:
        """The ending that tells the format, in small letters, with its dot; rows of HDF5 are ``.npy``."""
        if self.is_row:
            return ".npy"
        in_archive = self.member is not None and not self.is_part
        return (PurePosixPath(str(self.member)) if in_archive else self.path).suffix.lower()

    @property
    def location(self) -> str:
        """Path, and member if there is one, for messages."""
        return (
            str(self.path)
            if self.member is None
            else f"{self.path}{'#' if self.is_part else '/'}{self.member}"
        )

    def content(self) -> bytes:
        """The bytes of the file; of a row of an HDF5 file, those of an NPY file with its points and normals."""
        if self.member is None:
            return _read_file(self.path)
        if self.is_part:
            return part_content(_read_file(self.path), int(self.member))
        if self.is_row:
            file = io.BytesIO()
            np.save(file, read_row(self.path, self.member))
            return file.getvalue()
        return read_member(self.path, self.member)

    def sha256(self) -> str:
        """SHA-256 of the content, 64 hexadecimal digits: the same wherever the shape lies."""
        return hashlib.sha256(self.content()).hexdigest()

    def load(self, up: Up = "auto") -> Shape:
        """The shape, upright, centred and in the unit sphere, as ``load_shape`` gives it."""
        if self.member is None:
            return load_shape(self.path, up=self.up if up == "auto" else up, cad=self.cad)
        return self.parse(self.content(), up)

    def parse(self, content: bytes, up: Up = "auto") -> Shape:
        """As :meth:`load`, from a content that was read already."""
        axis = self.up if up == "auto" else up
        if self.member is None and self.ending == ".gltf":  # the numbers lie in other files beside it
            return load_shape(self.path, up=axis)
        return read_shape(content, self.ending, self.location, up=axis, cad=self.cad)

    def stored_points(self) -> NDArray[np.float32] | None:
        """The points as they are stored, float32 ``(p, 3)``, where they are a plain array; else ``None``."""
        if self.is_row:
            assert self.member is not None
            file, number = split_row(self.member)
            rows = hdf5_rows(self.path, file)
            if number >= len(rows):
                raise ShapeError(f"{self.location}: there are {len(rows)} clouds; the file was changed")
            return rows[number]
        return parse_npy(self.content()) if self.ending == ".npy" else None


def _read_file(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise ShapeError(f"{path} is no regular file; leave it out")
        if status.st_size > MAX_BYTES:
            raise ShapeError(f"{path} is larger than the limit ({status.st_size:,} of {MAX_BYTES:,} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise ShapeError(f"{path} cannot be read: {error.strerror or error}") from error
