"""What a query is: shape, picture or drawing."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from batchot.errors import ShapeError
from batchot.search.records import QueryRefused
from batchot.shapes.formats.read import kind_of

_SIDE = 192  # pixels: enough for the strokes of a drawing
_INK = 40  # of 255: what differs more from the paper is not paper
_WINDOW = 0.085  # of the longer side: no pen is as wide
_FULL, _MOST_FULL = 0.97, 0.005


def is_line_drawing(data: bytes) -> bool:
    """Say whether a picture consists of strokes on paper, not of areas, as photos and shaded pictures do."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.draft("L", (_SIDE, _SIDE))
        if opened.mode.startswith(("I", "F")):
            values = np.asarray(opened, np.float64)
            scaled = 255 * (values - values.min()) / max(float(np.ptp(values)), 1e-9)
            image = Image.fromarray(scaled.astype(np.uint8))
        else:
            image = opened.convert("RGBA" if opened.has_transparency_data else "L")
    image.thumbnail((_SIDE, _SIDE), reducing_gap=2.0)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    grey = np.asarray(image.convert("L"), np.int16)
    paper = int(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    side = max(3, round(_WINDOW * max(grey.shape)))
    if min(grey.shape) <= side:
        return True
    ink = np.pad((np.abs(grey - paper) > _INK).astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = ink[side:, side:] - ink[:-side, side:] - ink[side:, :-side] + ink[:-side, :-side]
    return float((inside >= _FULL * side**2).mean()) <= _MOST_FULL


_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP",
    b"II*\x00": "TIFF", b"MM\x00*": "TIFF",
}  # fmt: skip
_REFUSED = {
    b"PK\x07\x08": "a part of a zip archive",
    b"\x1f\x8b": "packed with gzip", b"BZh": "packed with bzip2", b"\xfd7zXZ\x00": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstandard", b"\x04\x22\x4d\x18": "packed with lz4",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\x07": "a RAR archive", b"%PDF": "a PDF document",
    b"\x7fELF": "a program", b"MZ": "a program", b"\x80\x02": "a Python pickle", b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle", b"\x80\x05": "a Python pickle", b"\x89HDF": "an HDF5 file",
}  # fmt: skip
_TAR_AT, _TAR = 257, b"ustar"
_FORMATS = (
    "a mesh (STEP, IGES, 3MF, OFF, OBJ, STL, PLY, GLB, glTF, DAE), points (NPY, PCD, XYZ) or a picture (PNG, "
    "JPEG, WebP, GIF, BMP, TIFF)"
)


def query_kind(data: bytes, name: str = "") -> Literal["shape", "picture"]:
    """Say whether a file holds a shape or a picture."""
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
    """Give a name as messages have it: without its folders and what cannot be printed, and not long."""
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = "".join(character for character in last if character.isprintable())
    return (clean if len(clean) <= 80 else f"{clean[:60]}…{clean[-16:]}") or "the file"
