"""Messages between two processes of which neither trusts what the other was given: JSON and plain bytes, no pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any

_HEAD = struct.Struct("<4sIQ")  # magic, bytes of JSON, bytes of blobs
_MAGIC = b"BOT1"
MOST_HEADER = 1 << 20
"""Bytes of JSON in a message."""


class FrameError(Exception):
    """The other side has ended, or does not say what was agreed."""


def write_frame(stream: IO[bytes], header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Send a message.

    Args:
        stream: to the other side
        header: what JSON can hold
        blobs: bytes that go with it

    >>> import io
    >>> stream = io.BytesIO()
    >>> write_frame(stream, {"a": 1}, [b"xyz"])
    >>> _ = stream.seek(0)
    >>> read_frame(stream, 100)
    ({'a': 1}, [b'xyz'])
    """
    text = json.dumps({**header, "_blobs": [len(blob) for blob in blobs]}).encode()
    stream.write(_HEAD.pack(_MAGIC, len(text), sum(len(blob) for blob in blobs)))
    stream.write(text)
    for blob in blobs:
        stream.write(blob)
    stream.flush()


def read_frame(stream: IO[bytes], most_bytes: int) -> tuple[dict[str, Any], list[bytes]]:
    """Receive a message.

    Args:
        stream: from the other side
        most_bytes: that all blobs of a message may have together

    Returns:
        The header and the blobs.

    Raises:
        FrameError: the stream has ended, or what it holds is no message of that size
    """
    magic, n_text, n_blobs = _HEAD.unpack(_read(stream, _HEAD.size))
    if magic != _MAGIC or n_text > MOST_HEADER or n_blobs > most_bytes:
        raise FrameError("it sent something else than a message")
    try:
        header = json.loads(_read(stream, n_text))
        sizes = header.pop("_blobs")
        if not all(isinstance(size, int) and size >= 0 for size in sizes) or sum(sizes) != n_blobs:
            raise FrameError("it sent something else than a message")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FrameError("it sent something else than a message") from error
    return header, [_read(stream, size) for size in sizes]


def _read(stream: IO[bytes], n: int) -> bytes:
    data = stream.read(n)
    if data is None or len(data) < n:
        raise FrameError("it has ended")
    return data
