"""Views kept on disk, a file a shape, and the shapes that failed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from batchot.files import ViewCacheError, write_whole
from batchot.shapes.views.content import hash_content, source_id
from batchot.shapes.views.settings import ViewSettings, render_source

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource

ViewShape = tuple[int, int, int, int]
_CHECKSUM_BYTES = 32


class DamagedViewsError(ValueError):
    """A file of views is cut short, was changed or holds views of another shape."""


@cache
def npy_header(shape: ViewShape) -> bytes:
    """The bytes before the pixels in the ``.npy`` file of views of this shape."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def file_size(shape: ViewShape) -> int:
    """Bytes of the file of views of this shape."""
    v, c, h, w = shape
    return len(npy_header(shape)) + v * c * h * w + _CHECKSUM_BYTES


def write_views(path: Path, views: NDArray[np.uint8], temporary: Path | None = None) -> None:
    """Write the views of a shape, whole or not at all."""
    v, c, h, w = views.shape
    views = np.ascontiguousarray(views, np.uint8)
    header = npy_header((v, c, h, w))
    write_whole(path, [header, views.data, _checksum(header, views)], temporary)


def read_views(path: Path, shape: ViewShape) -> NDArray[np.uint8]:
    """Read the views of a shape and check them."""
    views = np.empty(shape, np.uint8)
    read_views_into(path, views)
    return views


def read_views_into(path: Path, views: NDArray[np.uint8], check: bool = True) -> None:
    """Read the views of a shape to where they are wanted, which saves a copy."""
    v, c, h, w = views.shape
    header = npy_header((v, c, h, w))
    with open(path, "rb", buffering=0) as file:
        found = file.read(len(header))
        n_pixels = file.readinto(views.data.cast("B"))
        rest = file.read(_CHECKSUM_BYTES + 1)
    if found != header or n_pixels != views.nbytes or len(rest) != _CHECKSUM_BYTES:
        raise DamagedViewsError(f"{path} is damaged, or does not hold views of shape {views.shape}")
    if check and rest != _checksum(header, views):
        raise DamagedViewsError(f"{path} is damaged: its checksum is not that of its content")


def is_whole(path: Path, shape: ViewShape, check: bool = False) -> bool:
    """Whether a file of views is there and has the right size; with ``check`` it is read and compared."""
    try:
        if path.stat().st_size != file_size(shape):
            return False
        if check:
            read_views(path, shape)
    except (OSError, DamagedViewsError):
        return False
    return True


def _checksum(header: bytes, views: NDArray[np.uint8]) -> bytes:
    checksum = hashlib.sha256(header)
    checksum.update(views.data)
    return checksum.digest()


FailureKind = Literal["unreadable", "shape", "time", "crash"]


@dataclass(frozen=True)
class RenderFailure:
    """A shape that has no views."""

    name: str  # of the shape
    reason: str  # in words
    # ``"unreadable"``: there is no such file, or it may not be read; ``"shape"``: it is damaged; ``"time"``: it
    # took longer than the limit; ``"crash"``: the process that drew it died, twice
    kind: FailureKind
    path: str  # of its file
    member: str | None = None  # of the file, if it is an archive
    key: str = ""  # of its content and axis, see ``view_key``; empty if that cannot be read
    seconds: float = 0.0  # the limit that it broke, 0 for other kinds

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def read_failures(path: Path) -> list[RenderFailure]:
    """The failures of a report, none if there is none; lines that are damaged are left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    failures = []
    for line in lines:
        try:
            failures.append(RenderFailure(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return failures


def write_failures(path: Path, failures: Iterable[RenderFailure]) -> None:
    """Write the report, or remove it where nothing failed."""
    text = "".join(json.dumps(asdict(failure)) + "\n" for failure in failures)
    if text:
        write_whole(path, [text.encode()])
    else:
        path.unlink(missing_ok=True)


ViewId = tuple[str, str | None, str, float | None]
_NAMED = 5


@dataclass(frozen=True, eq=False)
class ViewCache:
    """Rendered views, as ``render_collection`` returns them."""

    # of all views with these settings: ``folder/ab/abcd....npy``, ``settings.json`` and, where shapes failed,
    # ``failures.jsonl``
    folder: Path
    settings: ViewSettings  # from where and how the shapes were seen
    # the name of the file of each shape that has views, made from its content, see ``view_key``
    keys: Mapping[ViewId, str]
    failures: tuple[RenderFailure, ...]  # of this collection
    n_rendered: int  # files that were rendered by this call; the others were there
    seconds: float  # that this took
    notes: tuple[
        str, ...
    ] = ()  # on the shapes that were rendered by this call, such as what was left out of them

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
        """The views of a shape; rendered again if their file is damaged or gone."""
        views = np.empty(self.settings.view_shape, np.uint8)
        self.load_into(source, views)
        return views

    def load_into(self, source: ShapeSource, views: NDArray[np.uint8], check: bool = True) -> None:
        """Put the views of a shape where they are wanted, as ``load`` would return them."""
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
    """A title and the first few items below it."""
    more = [f"  and {len(items) - _NAMED:,} more"] if len(items) > _NAMED else []
    return [title, *(f"  {item}" for item in items[:_NAMED]), *more]


def view_id(source: ShapeSource) -> ViewId:
    """What tells a source from others that look otherwise: its file, the member in it, its axis and tolerance."""
    return (*source_id(source), source.up, source.tolerance)


def view_key(source: ShapeSource, sha256: str, settings: ViewSettings) -> str:
    """What the file of the views of a shape is called."""
    turned = f" up={source.up}" if settings.up == "auto" and source.up != "auto" else ""
    coarse = "" if source.tolerance is None else f" tolerance={source.tolerance:.9g}"
    return hashlib.sha256(f"{sha256}{turned}{coarse}".encode()).hexdigest() if turned or coarse else sha256


def view_path(folder: Path, key: str) -> Path:
    """The file of the views of the shape whose content has this SHA-256."""
    return folder / key[:2] / f"{key}.npy"
