"""What a shape file holds, by SHA-256, remembered by size and time."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from batchot.errors import ShapeError
from batchot.files import write_whole

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
        """The state of a file now."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ShapeError(f"{path} is no regular file; save the shape to a file")
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class ContentHash(NamedTuple):
    """The SHA-256 of a content, and whether it is all in one file."""

    sha256: str
    in_one_file: bool


def hash_content(source: ShapeSource) -> ContentHash:
    """Hash what a shape is read from: its bytes and, for glTF, those of the files that it names."""
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


# A file that was changed this recently may be changed again without its times telling, on a coarse clock.
SETTLED_SECONDS = 2.0
_VERSION = 1

SourceId = tuple[str, str | None]


class Content(NamedTuple):
    """What a source held: the SHA-256 of it, the state in which its file was, and whether that tells all."""

    sha256: str
    state: FileState
    in_one_file: bool = True


def source_id(source: ShapeSource) -> SourceId:
    """What tells a source from others: its file and the member in it, not what it is called."""
    return os.path.abspath(source.path), None if source.member is None else str(source.member)


class ContentIndex:
    """The SHA-256 of the content of sources, remembered in a small file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _read(path)

    def look_up(
        self, sources: Sequence[ShapeSource], tick: Callable[[int], object] | None = None
    ) -> tuple[dict[SourceId, Content], dict[SourceId, str]]:
        """What sources hold."""
        contents: dict[SourceId, Content] = {}
        unreadable: dict[SourceId, str] = {}
        unread: dict[SourceId, ShapeSource] = {}
        states: dict[str, FileState | str] = {}
        for source in sources:
            identity = source_id(source)
            path = identity[0]
            if path not in states:
                states[path] = _state(source.path)
            state, known = states[path], self._known.get(identity)
            if isinstance(state, str):
                unreadable[identity] = state
            elif known is not None and known.state == state:
                contents[identity] = known
            else:
                unread[identity] = source
        try:
            self._read_all(unread, contents, unreadable, tick)
        finally:  # what was read before an interruption need not be read again
            self._remember((identity, contents[identity]) for identity in unread if identity in contents)
        return contents, unreadable

    @staticmethod
    def _read_all(
        unread: dict[SourceId, ShapeSource],
        contents: dict[SourceId, Content],
        unreadable: dict[SourceId, str],
        tick: Callable[[int], object] | None,
    ) -> None:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            try:
                for identity, content in zip(unread, pool.map(_read_content, unread.values()), strict=True):
                    if isinstance(content, str):
                        unreadable[identity] = content
                    else:
                        contents[identity] = content
                    if tick is not None:
                        tick(len(unread))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _remember(self, found: Iterable[tuple[SourceId, Content]]) -> None:
        before = (time.time() - SETTLED_SECONDS) * 1e9
        new = {
            identity: content
            for identity, content in found
            if content.in_one_file and max(content.state.mtime_ns, content.state.ctime_ns) < before
        }
        if not new:
            return
        # What another process has found meanwhile is kept too.
        self._known = {**self._known, **_read(self.path), **new}
        entries = [[*identity, content.sha256, *content.state] for identity, content in self._known.items()]
        body = json.dumps(entries, separators=(",", ":")).encode()
        head = json.dumps({"version": _VERSION, "sha256": hashlib.sha256(body).hexdigest()}).encode()
        write_whole(self.path, [head, b"\n", body, b"\n"])


def _state(path: Path) -> FileState | str:
    try:
        return FileState.of(path)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    except ShapeError as error:
        return str(error)


def _read_content(source: ShapeSource) -> Content | str:
    """The content, or why it cannot be read."""
    try:
        state = FileState.of(source.path)
        sha256, in_one_file = hash_content(source)
        return Content(sha256, state, in_one_file)
    except OSError as error:
        return f"{source.path}: {error.strerror or error}"
    except Exception as error:  # a damaged archive: each reader has errors of its own
        text = str(error) or type(error).__name__
        return text if str(source.path) in text else f"{source.path}: {text}"


def _read(path: Path) -> dict[SourceId, Content]:
    try:
        head, body = path.read_bytes().split(b"\n", 1)
        body = body.removesuffix(b"\n")
        said = json.loads(head)
        if said != {"version": _VERSION, "sha256": hashlib.sha256(body).hexdigest()}:
            return {}
        entries = json.loads(body)
    except (OSError, ValueError):
        return {}
    return {(path, member): Content(sha256, FileState(*state)) for path, member, sha256, *state in entries}
