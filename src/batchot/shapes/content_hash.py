"""The SHA-256 of what a shape is read from."""

from __future__ import annotations

import hashlib
import json
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from batchot.shapes.errors import ShapeError

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource

_GLB_MAGIC = b"glTF"


class FileState(NamedTuple):
    """Size and times of a file, which change when its content does."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """The state of a file now.

        Raises:
            OSError: there is no such file.
            ShapeError: it is a folder, a pipe or a device, from which reading may never end.
        """
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ShapeError(f"{path} is no regular file; save the shape to a file")
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class ContentHash(NamedTuple):
    """The SHA-256 of a content, and whether it is all in one file."""

    sha256: str
    in_one_file: bool


def hash_content(source: ShapeSource) -> ContentHash:
    """Hash what a shape is read from: its bytes and, for glTF, those of the files that it names.

    Args:
        source: the shape.

    Returns:
        64 hexadecimal digits that are the same wherever the shape lies.

    Raises:
        OSError: the file cannot be read.
        ShapeError: its archive is damaged.

    Example:
        >>> import tempfile
        >>> from batchot.shapes.content_hash import hash_content
        >>> from batchot.shapes.source import ShapeSource
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.xyz"
        ...     _ = path.write_text("0 0 0")
        ...     hash_content(ShapeSource("a", path)).sha256[:8]
        '4a31f353'
    """
    if source.member is not None:
        return ContentHash(source.sha256(), True)
    with open(source.path, "rb") as file:
        start = file.read(256).lstrip()
        file.seek(0)
        # In pieces: a file that is too large to be read as a shape must not fill the memory here.
        content = hashlib.file_digest(file, "sha256")
        if not start.startswith((_GLB_MAGIC, b"{")):
            return ContentHash(content.hexdigest(), True)
        file.seek(0)
        named = _named_files(file.read())
    for name in named:
        content.update(name.encode(errors="surrogateescape"))
        try:
            with open(source.path.parent / name, "rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
        except (OSError, ValueError):  # the reader will say that it is missing
            continue
    return ContentHash(content.hexdigest(), not named)


def _named_files(data: bytes) -> list[str]:
    """The files with the numbers of a glTF file, as it names them."""
    try:
        if data.startswith(_GLB_MAGIC):
            (size,) = struct.unpack_from("<I", data, 12)
            data = data[20 : 20 + size]
        uris = [buffer.get("uri") for buffer in json.loads(data)["buffers"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        return []  # no glTF after all, or a damaged one: the reader will say so
    return sorted({unquote(uri) for uri in uris if isinstance(uri, str) and not uri.startswith("data:")})
