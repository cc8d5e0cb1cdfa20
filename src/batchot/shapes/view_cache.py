"""The views of a collection of shapes, one file a shape."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from batchot.shapes.atomic import ViewCacheError
from batchot.shapes.content_hash import hash_content
from batchot.shapes.content_index import source_id
from batchot.shapes.view_failures import RenderFailure
from batchot.shapes.view_file import DamagedViewsError, file_size, read_views_into, write_views
from batchot.shapes.view_settings import ViewSettings, render_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from batchot.shapes.source import ShapeSource

ViewId = tuple[str, str | None, str]
_NAMED = 5


@dataclass(frozen=True, eq=False)
class ViewCache:
    """Rendered views, as ``render_collection`` returns them.

    Files are found by the content of a shape, so that one that was moved or renamed keeps its views.

    Args:
        folder: of all views with these settings: ``folder/ab/abcd....npy``, ``settings.json`` and, where
            shapes failed, ``failures.jsonl``.
        settings: from where and how the shapes were seen.
        keys: the name of the file of each shape that has views, made from its content, see ``view_key``.
        failures: of this collection.
        n_rendered: files that were rendered by this call; the others were there.
        seconds: that this took.
        notes: on the shapes that were rendered by this call, such as what was left out of them.
    """

    folder: Path
    settings: ViewSettings
    keys: Mapping[ViewId, str]
    failures: tuple[RenderFailure, ...]
    n_rendered: int
    seconds: float
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, source: ShapeSource) -> bool:
        return view_id(source) in self.keys

    @property
    def n_files(self) -> int:
        """Files of views; shapes of equal content share one."""
        return len(set(self.keys.values()))

    @property
    def n_bytes(self) -> int:
        """Bytes that the files of views take."""
        return self.n_files * file_size(self.settings.view_shape)

    @property
    def report(self) -> Path:
        """The file in which failures are written, if there are any."""
        return self.folder / "failures.jsonl"

    def path_of(self, source: ShapeSource) -> Path:
        """The file of the views of a shape; a ``ViewCacheError`` where it has none."""
        key = self.keys.get(view_id(source))
        if key is None:
            reasons = [f.reason for f in self.failures if (f.path, f.member) == source_id(source)]
            why = reasons[0] if reasons else "it is not of the collection that was rendered"
            raise ViewCacheError(f"{source.name} has no views in {self.folder}: {why}")
        return view_path(self.folder, key)

    def load(self, source: ShapeSource) -> NDArray[np.uint8]:
        """The views of a shape; rendered again if their file is damaged or gone.

        Args:
            source: a shape of the collection.

        Returns:
            Pixels, shape ``(v, c, h, w)``.

        Raises:
            ViewCacheError: it has no views, or they are damaged and the shape is no longer what it was.
        """
        views = np.empty(self.settings.view_shape, np.uint8)
        self.load_into(source, views)
        return views

    def load_into(self, source: ShapeSource, views: NDArray[np.uint8], check: bool = True) -> None:
        """Put the views of a shape where they are wanted, as ``load`` would return them.

        Args:
            source: a shape of the collection.
            views: filled with the pixels, contiguous, ``(v, c, h, w)``.
            check: compare the checksum, which doubles the time; size and header are always looked at.
        """
        path = self.path_of(source)
        try:
            read_views_into(path, views, check)
        except (DamagedViewsError, OSError) as error:
            if view_key(source, hash_content(source).sha256, self.settings) != path.stem:
                raise ViewCacheError(
                    f"{error}, and {source.path} has changed since {source.name} was rendered; "
                    "render the collection again"
                ) from error
            views[...] = render_source(source, self.settings)
            write_views(path, views)

    def lines(self) -> list[str]:
        """A summary to be printed: what there is, what is new and what failed."""
        v, _, h, w = self.settings.view_shape
        lines = [
            f"{len(self):,} shapes, {v} views of {h} x {w} ({', '.join(self.settings.channels)}): "
            f"{self.n_bytes / 1e6:,.1f} MB in {self.folder}",
            f"{self.n_rendered:,} rendered now in {self.seconds:.1f} s, "
            f"{self.n_files - self.n_rendered:,} were there",
        ]
        if self.notes:
            lines += listed(f"{len(self.notes):,} remarks:", self.notes)
        if self.failures:
            lines += listed(
                f"{len(self.failures):,} failed, all of them named in {self.report}:", self.failures
            )
        return lines


def listed(title: str, items: Sequence[object]) -> list[str]:
    """A title and the first few items below it.

    Example:
        >>> from batchot.shapes.view_cache import listed
        >>> listed("7 failed:", range(7))[-2:]
        ['  4', '  and 2 more']
    """
    more = [f"  and {len(items) - _NAMED:,} more"] if len(items) > _NAMED else []
    return [title, *(f"  {item}" for item in items[:_NAMED]), *more]


def view_id(source: ShapeSource) -> ViewId:
    """What tells a source from others that look otherwise: its file, the member in it and its axis."""
    return (*source_id(source), source.up)


def view_key(source: ShapeSource, sha256: str, settings: ViewSettings) -> str:
    """What the file of the views of a shape is called.

    Args:
        source: the shape.
        sha256: of its content.
        settings: from where and how it is seen.

    Returns:
        ``sha256`` itself; where the collection says which axis points up and the settings leave that to it,
        another 64 digits that depend on both.

    Example:
        >>> from batchot.shapes.source import ShapeSource
        >>> from batchot.shapes.view_cache import view_key
        >>> source = ShapeSource("a", Path("a.off"), up="y")
        >>> [view_key(source, "ab12", ViewSettings(up=up))[:4] for up in ("z", "auto")]
        ['ab12', 'cddb']
    """
    if settings.up != "auto" or source.up == "auto":
        return sha256
    return hashlib.sha256(f"{sha256} up={source.up}".encode()).hexdigest()


def view_path(folder: Path, key: str) -> Path:
    """The file of the views of the shape whose content has this SHA-256.

    Example:
        >>> from batchot.shapes.view_cache import view_path
        >>> view_path(Path("views"), "ab12").as_posix()
        'views/ab/ab12.npy'
    """
    return folder / key[:2] / f"{key}.npy"
