"""Small files in the formats in which the data sets are published."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """The IDX file of an array of bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()


def mnist_files(train: int = 30, test: int = 20) -> dict[str, bytes]:
    """The four unpacked IDX files of a small MNIST: image i is filled with i, its label is i modulo 10."""
    files = {}
    for stem, n in (("train", train), ("t10k", test)):
        images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 28, 28))
        files[f"{stem}-images-idx3-ubyte"] = idx_bytes(images)
        files[f"{stem}-labels-idx1-ubyte"] = idx_bytes((np.arange(n) % 10).astype(np.uint8))
    return files


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 wrote: byte strings as such, and numpy's functions under their old names."""

    dispatch: ClassVar[dict[type, Callable[..., None]]] = dict(pickle._Pickler.dispatch)

    def save_byte_string(self, obj: bytes) -> None:
        if len(obj) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(obj)]) + obj)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)
        self.memoize(obj)

    def save_text(self, obj: str) -> None:
        self.save_byte_string(obj.encode("latin1"))

    dispatch[bytes] = save_byte_string
    dispatch[str] = save_text

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or obj.__name__}\n".encode())
        self.memoize(obj)

    for _type in (type, type(np.zeros(0).__reduce__()[0])):
        dispatch[_type] = save_global


def python2_pickle(value: Any) -> bytes:
    """``value`` as Python 2 pickled it."""
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def cifar_batch(n: int, start: int) -> bytes:
    """A batch as published, of ``n`` images; image i is filled with the value ``start + i``."""
    values = np.arange(start, start + n)
    return python2_pickle(
        {
            "batch_label": "training batch 1 of 5",
            "labels": (values % 10).tolist(),
            "data": np.repeat(values.astype(np.uint8)[:, None], 3072, axis=1),
            "filenames": [f"image_{value}.png" for value in values],
        }
    )


def cifar_batches(n: int = 10) -> dict[str, bytes]:
    """The six batches as published, of ``n`` images each."""
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    return {name: cifar_batch(n, k * n) for k, name in enumerate(names)}
