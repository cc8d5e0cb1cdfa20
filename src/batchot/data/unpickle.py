"""Reading pickled arrays from an untrusted file without letting the file run code."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.data.errors import DataError

# A pickle names the functions that rebuild its objects. None of numpy's is called: given a forged dtype they
# take bytes of the file for addresses in memory. The stand-ins below only note what the file says.


class _Dtype:
    """Stand-in for ``numpy.dtype``, of which only bytes are admitted."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if code not in ("u1", b"u1"):
            raise DataError(f"expected an array of bytes (u1), got one of {code!r}")

    def __setstate__(self, state: object) -> None:
        """Bytes have no byte order and no fields, which is what the state would tell."""


class _Array:
    """Stand-in for ``numpy.ndarray``; ``array`` is what it stands for."""

    array: NDArray[np.uint8]

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, fortran_order, content = state
        if not (
            isinstance(dtype, _Dtype) and isinstance(content, bytes) and math.prod(shape) == len(content)
        ):
            raise ValueError(f"an array of shape {shape} with other than as many bytes")
        self.array = np.frombuffer(content, dtype=np.uint8).reshape(
            shape, order="F" if fortran_order else "C"
        )


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    """Stand-in for ``numpy.core.multiarray._reconstruct``, which makes an array whose state comes next."""
    return _Array()


def _encode(text: str, encoding: str | bytes) -> bytes:
    """Stand-in for ``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", b"latin1"):
        raise DataError(f"refused to encode with {encoding!r}: bytes in a pickle are written as latin1")
    return text.encode("latin1")


def _find(module: str, name: str) -> Any:
    match module, name:
        case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
            return _reconstruct
        case "numpy", "ndarray":
            return _Array
        case "numpy", "dtype":
            return _Dtype
        case "_codecs", "encode":
            return _encode
    raise DataError(
        f"refused to load {module}.{name}: only dictionaries, lists, numbers, strings and arrays of bytes "
        "are read from a pickle, because anything else could run a program"
    )


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _find(module, name)


def unpickle_arrays(content: bytes, source: str) -> dict[str, Any]:
    """Load a pickled dictionary that may hold only lists, numbers, strings and arrays of bytes.

    Args:
        content: the pickle, of Python 2 or 3.
        source: the file, for messages.

    Returns:
        The dictionary; its names are text, its strings bytes where Python 2 wrote them, its arrays read-only.

    Raises:
        DataError: when the pickle asks for anything else, is truncated or is damaged.

    Example:
        >>> import pickle
        >>> from batchot.data.unpickle import unpickle_arrays
        >>> unpickle_arrays(pickle.dumps({"labels": [3, 8]}), "batch")
        {'labels': [3, 8]}
        >>> unpickle_arrays(pickle.dumps({"labels": print}), "batch")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        batchot.data.errors.DataError: batch: refused to load builtins.print: only dictionaries, lists, ...
    """
    try:
        loaded = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        return {
            name.decode() if isinstance(name, bytes) else name: value.array
            if isinstance(value, _Array)
            else value
            for name, value in loaded.items()
        }
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
    # A damaged pickle is a random program for the unpickler: it may fail in any of these ways.
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        UnicodeError,
        ValueError,
    ) as error:
        raise DataError(
            f"{source} is damaged or half downloaded: expected a pickled dictionary of arrays, but of "
            f"{len(content):,} bytes that arrived reading stopped ({type(error).__name__}: {error}). "
            "Delete it and run again, or download it again."
        ) from error
