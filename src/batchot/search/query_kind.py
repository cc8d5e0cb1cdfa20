"""Whether a file holds a shape or a picture, by its content: its name may say anything."""

from __future__ import annotations

from typing import Literal

from batchot.search.errors import QueryRefused
from batchot.shapes.errors import ShapeError
from batchot.shapes.read_kind import kind_of

_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP",
    b"II*\x00": "TIFF", b"MM\x00*": "TIFF",
}  # fmt: skip
_REFUSED = {
    b"PK\x03\x04": "a zip archive", b"PK\x05\x06": "an empty zip archive", b"PK\x07\x08": "a part of a zip archive",
    b"\x1f\x8b": "packed with gzip", b"BZh": "packed with bzip2", b"\xfd7zXZ\x00": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstandard", b"\x04\x22\x4d\x18": "packed with lz4",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\x07": "a RAR archive", b"%PDF": "a PDF document",
    b"\x7fELF": "a program", b"MZ": "a program", b"\x80\x02": "a Python pickle", b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle", b"\x80\x05": "a Python pickle", b"\x89HDF": "an HDF5 file",
}  # fmt: skip
_TAR_AT, _TAR = 257, b"ustar"
_FORMATS = (
    "a mesh (OFF, OBJ, STL, PLY, GLB, glTF), points (NPY, PCD, XYZ) or a picture (PNG, JPEG, WebP, "
    "GIF, BMP, TIFF)"
)


def query_kind(data: bytes, name: str = "") -> Literal["shape", "picture"]:
    """Say whether a file holds a shape or a picture.

    Args:
        data: its content
        name: of it; its ending decides only where the content leaves the format of a shape open

    Returns:
        "shape" or "picture".

    Raises:
        QueryRefused: it is neither, such as an archive

    >>> query_kind(b"OFF\\n3 1 0\\n", "chair.png")
    'shape'
    """
    shown = shown_name(name)
    if not data.strip():
        raise QueryRefused(f"{shown} is empty; give {_FORMATS}", "format")
    for magic, what in _REFUSED.items():
        if data.startswith(magic):
            raise QueryRefused(f"{shown} is {what}; unpack or convert it: taken is {_FORMATS}", "format")
    if data[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        raise QueryRefused(f"{shown} is a tar archive; unpack it: taken is {_FORMATS}", "format")
    if data.startswith(tuple(_PICTURES)) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        return "picture"
    try:
        kind_of(data, ending_of(name))
    except ShapeError as error:
        raise QueryRefused(f"{shown} {error}; taken is {_FORMATS}", "format") from error
    return "shape"


def ending_of(name: str) -> str:
    """Give the ending of a name with its dot, in small letters; "" where it has none that could be one."""
    ending = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[2].lower()
    return f".{ending}" if "." in name and ending.isalnum() and len(ending) <= 8 else ""


def shown_name(name: str) -> str:
    """Give a name as messages have it: without its folders and what cannot be printed, and not long.

    >>> shown_name("../../etc/passwd\\x00.off")
    'passwd.off'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = "".join(character for character in last if character.isprintable())
    return (clean if len(clean) <= 80 else f"{clean[:60]}…{clean[-16:]}") or "the file"
