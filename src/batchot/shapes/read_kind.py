"""Which format a file has: what its content says, and its ending where that leaves it open."""

from __future__ import annotations

import codecs
import re
from typing import Literal, TypeAlias

from batchot.shapes.errors import ShapeError
from batchot.shapes.read_off import HEADER as OFF_HEADER
from batchot.shapes.read_ply_header import HEADER as PLY_HEADER
from batchot.shapes.read_stl import is_binary_stl

Kind: TypeAlias = Literal["off", "obj", "stl", "ply", "gltf", "npy", "pcd", "text", "hdf5"]

ENDINGS: dict[str, Kind] = {
    ".off": "off", ".obj": "obj", ".stl": "stl", ".ply": "ply", ".glb": "gltf", ".gltf": "gltf",
    ".npy": "npy", ".pcd": "pcd", ".xyz": "text", ".txt": "text", ".pts": "text", ".csv": "text",
    ".xyzn": "text", ".xyzrgb": "text", ".asc": "text", ".tsv": "text", ".h5": "hdf5", ".hdf5": "hdf5",
}  # fmt: skip
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HEAD = 1 << 16  # bytes looked at
_OBJ_LINE = re.compile(rb"^[ \t]*(?:v[ \t]+[-+.\d]|f[ \t]+-?\d)", re.MULTILINE)
_PCD_LINE = re.compile(rb"^(?:FIELDS|COLUMNS)[ \t]", re.MULTILINE)
_NUMBER_LINE = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|(?:#|//)[^\r\n]*[\r\n])*[-+.\d]+")
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
_OTHERS = {
    b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "packed with gzip", b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image", b"%PDF": "a PDF document", b"<": "XML or HTML",
    b"Kaydara FBX": "an FBX file", b"BLENDER": "a Blender file",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}  # fmt: skip


def plain_text(data: bytes) -> bytes:
    """The content of a file without its byte-order mark; UTF-16 and UTF-32 become UTF-8.

    Raises:
        ShapeError: it has the mark of such a text and is none.

    Example:
        >>> from batchot.shapes.read_kind import plain_text
        >>> plain_text(b"\\xef\\xbb\\xbfv 0 0 0"), plain_text("1 2 3".encode("utf-16"))
        (b'v 0 0 0', b'1 2 3')
    """
    if data[:1] not in (b"\xef", b"\xff", b"\xfe", b"\x00") or is_binary_stl(data):
        return data
    if data.startswith(codecs.BOM_UTF8):
        return data[len(codecs.BOM_UTF8) :]
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding).encode()
            except UnicodeDecodeError as error:
                raise ShapeError(
                    f"begins as {encoding} text, but is none ({error.reason} at byte {error.start:,}); restore the "
                    "file, or save it as UTF-8"
                ) from error
    return data


def kind_of(data: bytes, ending: str) -> Kind:
    """The format of a file.

    Args:
        data: its content.
        ending: its ending with the dot, in small letters; may be empty.

    Returns:
        The format that the content shows, whatever the ending says; else that of the ending.

    Raises:
        ShapeError: neither tells of a format that is read.

    Example:
        >>> from batchot.shapes.read_kind import kind_of
        >>> kind_of(b"ply\\nformat ascii 1.0", ".obj"), kind_of(b"1 2 3", ".txt")
        ('ply', 'text')
    """
    data = plain_text(data)
    head = data[:_HEAD]
    if kind := _by_magic(head, data):
        return kind
    named = ENDINGS.get(ending)
    if is_binary_stl(data):
        return "stl"
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise ShapeError(
                f"is {what}; unpack it, or save the shape in a format that is read: {_formats()}"
            )
    is_text = b"\x00" not in head
    if is_text and _OBJ_LINE.search(head):
        return "obj"
    if is_text and _NUMBER_LINE.match(head):
        return "off" if named == "off" else "text"
    if named == "stl":
        return "stl"  # a truncated one, whose reader says what is missing
    if named == "text" and is_text:
        return "text"
    if named == "obj" and is_text:
        return "obj"
    if named is None:
        raise ShapeError(
            f"neither the ending {ending!r} nor the content is of a format that is read; save the shape as one of "
            f"{_formats()}"
        )
    raise ShapeError(
        f"does not begin as a {ending} file does ({head[:16]!r}); it is damaged or of another format: restore it, or "
        f"save the shape as one of {_formats()}"
    )


def _by_magic(head: bytes, data: bytes) -> Kind | None:
    if head.startswith(b"glTF"):
        return "gltf"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if PLY_HEADER.match(head):
        return "ply"
    if OFF_HEADER.match(head):
        return "off"
    if head.lstrip().startswith(b"{") and b'"asset"' in head:
        return "gltf"
    if head.startswith((b"# .PCD", b"VERSION ", b"FIELDS ")) and _PCD_LINE.search(head):
        return "pcd"
    if head.lstrip()[:5].lower() == b"solid" and b"facet" in head.lower():
        return None if is_binary_stl(data) else "stl"
    return None


def _formats() -> str:
    return ", ".join(sorted(ENDINGS))
