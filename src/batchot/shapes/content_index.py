"""What each file held when it was last read, so that 12,311 files are not read at every start."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchot.shapes.atomic import write_whole
from batchot.shapes.content_hash import FileState, hash_content
from batchot.shapes.errors import ShapeError

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource

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
    """The SHA-256 of the content of sources, remembered in a small file.

    A file is read again when its size or one of its times has changed. An index that is damaged is made anew.

    Args:
        path: of the index; it need not exist yet.

    Example:
        >>> import tempfile
        >>> from batchot.shapes.content_index import ContentIndex
        >>> from batchot.shapes.source import ShapeSource
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shape = Path(folder) / "a.xyz"
        ...     _ = shape.write_text("0 0 0")
        ...     index = ContentIndex(Path(folder) / "contents.json")
        ...     contents, unreadable = index.look_up([ShapeSource("a", shape, None, 0)])
        >>> [content.sha256[:8] for content in contents.values()], unreadable
        (['4a31f353'], {})
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _read(path)

    def look_up(
        self, sources: Sequence[ShapeSource], tick: Callable[[int], object] | None = None
    ) -> tuple[dict[SourceId, Content], dict[SourceId, str]]:
        """What sources hold.

        Args:
            sources: any; each file is read at most once.
            tick: told after each source that had to be read: how many there are of these.

        Returns:
            The content of those that can be read, and the reason for those that cannot.

        Raises:
            ViewCacheError: the index cannot be written.
        """
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
