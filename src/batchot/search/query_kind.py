"""What a query is: shape, picture or drawing."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from batchot.data.sets.sketch_image import read_colours
from batchot.errors import ShapeError
from batchot.files import picture_file
from batchot.search.records import QueryRefused
from batchot.shapes.formats.read import kind_of

_SIDE = 192  # pixels: enough for the strokes of a drawing
_INK = 40  # of 255: what differs more from the paper is not paper
_WINDOW = 0.085  # of the longer side: no pen is as wide
_FULL, _MOST_FULL = 0.97, 0.005
_PHOTO = 640  # pixels of the longer side of a photo of a drawing
_EVEN = 0.9  # of the border of the picture
_OBJECT = 0.9  # of the side of the square: as large as shapes are in their views
_EDGE = 1.25  # times as bright: where the paper ends, not where the light falls off
_LEAST_PAPER = 0.25  # of the photo
_MOST_SHADED, _LEAST_INK = 0.12, 0.003  # of the paper: darker than the light by 8 %, and by _GRAIN
_MOST_PALE, _MOST_COLOUR = 3.0, 0.2  # times as much is pale as is ink; median saturation of the paper
_MOST_SOLID = 0.04  # of the paper: more that is dark and wider than any stroke is a thing before a plain wall
_GRAIN = 0.22  # of the brightness of the paper: what is weaker is its grain, folds, or noise of the camera


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


def cleaned_photo(data: bytes) -> bytes | None:
    """Give the drawing of which a file is a photo, without light and desk; None where it is not one."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.draft("RGB", (_PHOTO, _PHOTO))
        if opened.has_transparency_data or opened.mode.startswith(("I", "F")):
            return None  # no camera makes these
        image = ImageOps.exif_transpose(opened).convert("RGB")
    exact = np.asarray(image.convert("L"))
    border = np.concatenate([exact[0], exact[-1], exact[:, 0], exact[:, -1]])
    if float((border == np.median(border)).mean()) > _EVEN:
        return None  # no camera sees paper of one grey all around
    image.thumbnail((_PHOTO, _PHOTO), reducing_gap=2.0)
    grey = ndimage.gaussian_filter(np.asarray(image.convert("L"), np.float32), 0.7)
    window = max(5, round(0.05 * max(grey.shape)))
    light = np.maximum(ndimage.grey_closing(grey, size=window, mode="nearest"), 1.0)
    paper = _paper(light, window)
    if paper is None:
        return None
    light = ndimage.gaussian_filter(np.where(paper, light, np.median(light[paper])), window / 4)
    ink = np.where(paper, np.clip(1.0 - grey / light, 0.0, 1.0), 0.0)
    colours = np.asarray(image, np.float32)[paper]
    colour = float(np.median(1.0 - colours.min(1) / np.maximum(colours.max(1), 1.0)))
    shaded, inked = float((ink[paper] > 0.08).mean()), float((ink[paper] > _GRAIN).mean())
    pale = (shaded - inked) / max(inked, 1e-9)
    if shaded > _MOST_SHADED or inked < _LEAST_INK or pale > _MOST_PALE or colour > _MOST_COLOUR:
        return None
    ink = np.clip((ink - _GRAIN) / (1.0 - _GRAIN), 0.0, 1.0)
    strongest = float(np.percentile(ink[ink > 0], 90))
    drawn = 255.0 * (1.0 - np.clip(ink / strongest, 0.0, 1.0))
    drawn = np.pad(drawn, window, constant_values=255).astype(np.uint8)
    file = picture_file(Image.fromarray(drawn))
    return file if is_line_drawing(file) else None


def _paper(light: NDArray[np.float32], window: int) -> NDArray[np.bool_] | None:
    """Where the paper is, without its edge."""
    steep = ndimage.maximum_filter(light, 5) > _EDGE * ndimage.minimum_filter(light, 5)
    regions, n = ndimage.label(~steep)
    areas = ndimage.sum_labels(np.ones_like(light), regions, range(1, n + 1))
    large = [k for k in range(1, n + 1) if areas[k - 1] >= _LEAST_PAPER * light.size]
    if not large:
        return None
    brightest = max(large, key=lambda k: float(np.median(light[regions == k])))
    bright = regions == brightest
    paper = ndimage.binary_fill_holes(bright)
    if (paper & ~bright & ~steep).sum() > _MOST_SOLID * paper.sum():
        return None
    return np.asarray(ndimage.binary_erosion(paper, iterations=max(2, window // 3), border_value=1), bool)


def photo_of_object(data: bytes, size: int, name: str = "") -> NDArray[np.uint8]:
    """Give a photo in a square, uint8 (3, size, size), cut to its object where what is behind it is plain."""
    colours = read_colours(data, size, name)
    image = Image.fromarray(colours[:, :, 0] if colours.shape[2] == 1 else colours).convert("RGB")
    pixels = np.asarray(image, np.int16)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    behind = np.median(border, axis=0)
    other = np.abs(pixels - behind).max(2) > _INK
    around = np.concatenate([other[0], other[-1], other[:, 0], other[:, -1]])
    if around.mean() <= 1 - _EVEN and other.any():
        rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
        image = image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
        room = max(1, round(_OBJECT * size))
    else:
        room = size
    scale = room / max(image.size)
    width, height = (max(1, round(scale * side)) for side in image.size)
    square = Image.new("RGB", (size, size), tuple(int(value) for value in behind))
    square.paste(
        image.resize((width, height), Image.Resampling.BICUBIC), ((size - width) // 2, (size - height) // 2)
    )
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


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
