"""Image files to one array of pixels."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from batchot.data.errors import DataError

PROGRESS_ABOVE = 5_000
_CHUNK = 64


def decode_images(paths: Sequence[str], size: int | None = None) -> NDArray[np.uint8]:
    """Decode image files of one size to RGB, in several threads.

    Grey becomes RGB, what is transparent becomes white, and a photograph that was taken with the camera held
    sideways is turned upright.

    Args:
        paths: the files, at least one.
        size: height and width to which every image is scaled, after cutting its longer side to a square about
            the centre; ``None`` takes images as they are, and then they must all have the size of the first.

    Returns:
        Pixels, shape ``(n, 3, h, w)``.

    Raises:
        DataError: naming the file that is damaged, of another size, or of more than 8 bits a channel.

    Example:
        >>> import tempfile
        >>> from batchot.data.decode import decode_images
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/grey.png"
        ...     Image.new("L", (5, 4), color=128).save(path)
        ...     decode_images([path]).shape, decode_images([path], size=2)[0, :, 0, 0].tolist()
        ((1, 3, 4, 5), [128, 128, 128])
    """
    first = _decode(paths[0], size)
    pixels = np.empty((len(paths), 3, *first.shape[:2]), dtype=np.uint8)  # (n, 3, h, w)

    def decode_chunk(start: int) -> int:
        for i in range(start, min(start + _CHUNK, len(paths))):
            image = _decode(paths[i], size)
            if image.shape != first.shape:
                raise DataError(
                    f"{paths[i]} is {image.shape[1]} x {image.shape[0]} pixels (width x height), but "
                    f"{paths[0]} is {first.shape[1]} x {first.shape[0]}; give a size to scale all of them to"
                )
            pixels[i] = image.transpose(2, 0, 1)
        return min(_CHUNK, len(paths) - start)

    with (
        tqdm(
            total=len(paths), desc="decoding images", unit="image", disable=len(paths) <= PROGRESS_ABOVE
        ) as bar,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
    ):
        for done in pool.map(decode_chunk, range(0, len(paths), _CHUNK)):
            bar.update(done)
    return pixels


def _decode(path: str, size: int | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path} has {opened.mode} pixels, more than 8 bits a channel; save it with 8 bits"
                )
            # Looking for the turn costs half as much as decoding a small image; only EXIF tells of one.
            image = ImageOps.exif_transpose(opened) if "exif" in opened.info else opened
            if image.has_transparency_data:
                over = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
            image = image.convert("RGB")
    except DataError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{path} is damaged or no image ({error}); restore it or delete it") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)  # (h, w, 3)
