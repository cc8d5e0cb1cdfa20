"""Read shapes as point clouds, in parallel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.normalize import normalize_shape
from batchot.shapes.sample import farthest_points, sample_surface
from batchot.shapes.shape import Mesh, PointCloud, Shape, Up, finite_cloud
from batchot.shapes.source import ShapeSource
from batchot.workers.pool import Engine, Lost, Pool, ProcessPool
from batchot.workers.process import usable_cores


class CloudSeat:
    """Reads shapes as clouds; one on which it dies is tried by others and then named, which the pool sees to."""

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings

    def __call__(self, source: ShapeSource) -> NDArray[np.float32] | str:
        """The points ``(points, 3)``, or why they cannot be had."""
        return attempt(source, self.settings)


Choice = Literal["first", "farthest"]
TooFew = Literal["error", "repeat"]
OVERSAMPLING = 4
# Raised when the points that are made of the same file and settings change.
READING_VERSION = 2
_PARALLEL_ABOVE = 16


@dataclass(frozen=True)
class CloudSettings:
    """How a shape becomes a cloud of a given size."""

    points: int = 1024  # number of points, at least 1
    # of a cloud with more: the ``"first"`` ones, as is the custom with ModelNet, or ``"farthest"``, each as far as
    # can be from those before it. Of a mesh: points drawn evenly over its area, or the farthest of four times as
    # many
    choice: Choice = "first"
    too_few: TooFew = "error"  # of a cloud with fewer: an ``"error"``, or ``"repeat"`` it from its beginning
    up: Up = "auto"  # the axis of the files that points up; ``"auto"`` takes what the collection says
    seed: int = 0  # of the points drawn on meshes, with the content of each file and nothing else

    def __post_init__(self) -> None:
        if self.points < 1:
            raise ValueError(f"points must be at least 1, got {self.points}")
        for value, options in ((self.choice, Choice), (self.too_few, TooFew), (self.up, Up)):
            if value not in get_args(options):
                raise ValueError(f"expected one of {', '.join(get_args(options))}, got {value!r}")


def read_cloud(source: ShapeSource, settings: CloudSettings) -> NDArray[np.float32]:
    """The points of a shape: upright, centred, in the unit sphere."""
    if (stored := source.stored_points()) is not None:
        axis = source.up if settings.up == "auto" else settings.up
        try:
            cloud = normalize_shape(finite_cloud(stored), up=axis)
        except ShapeError as error:
            raise ShapeError(f"{source.location}: {error}") from error
        assert isinstance(cloud, PointCloud)
        return _choose(cloud.points, source.location, settings).astype(np.float32)
    content = source.content()
    return cloud_of(source.parse(content, settings.up), content, settings, source.location)


def cloud_of(shape: Shape, content: bytes, settings: CloudSettings, name: str) -> NDArray[np.float32]:
    """The points of a shape that was read already."""
    if isinstance(shape, Mesh):
        drawn = settings.points * (OVERSAMPLING if settings.choice == "farthest" else 1)
        digest = hashlib.sha256(f"{settings.seed}\0".encode() + content).digest()
        points = sample_surface(shape, drawn, int.from_bytes(digest[:4], "little")).points
    else:
        points = shape.points
    return _choose(points, name, settings).astype(np.float32)


def _choose(points: NDArray[np.float64], name: str, settings: CloudSettings) -> NDArray[np.float64]:
    n = len(points)
    if n < settings.points:
        if settings.too_few == "error":
            raise ShapeError(
                f"{name} has {n:,} points, fewer than the {settings.points:,} asked for; "
                "ask for fewer, or repeat points with too_few='repeat'"
            )
        return points[np.arange(settings.points) % n]
    if settings.choice == "farthest" and n > settings.points:
        return points[farthest_points(points, settings.points)]
    return points[: settings.points]


class CloudReader:
    """Reads many shapes, meshes in several processes; those that cannot be read do not stop the others."""

    def __init__(
        self, settings: CloudSettings, processes: int | None = None, engine: Engine | None = None
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.processes = processes or usable_cores()
        self._pool: Pool | None = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()
        self._pool = None

    def read(
        self, sources: Sequence[ShapeSource], tick: Callable[[], object] = lambda: None
    ) -> list[NDArray[np.float32] | str]:
        """The points of each shape ``(points, 3)``, or the reason why it cannot be had."""
        # An array is read faster than it is sent to another process and back.
        slow = [k for k, source in enumerate(sources) if not (source.is_row or source.ending == ".npy")]
        few = self.processes == 1 or (len(slow) <= _PARALLEL_ABOVE and self._pool is None)
        if self.engine is None and few:
            slow = []
        results: dict[int, NDArray[np.float32] | str] = {}
        for k in sorted(set(range(len(sources))) - set(slow)):
            results[k] = attempt(sources[k], self.settings)
            tick()
        for i, answer in self._workers([sources[k] for k in slow]):
            results[slow[i]] = (
                f"{sources[slow[i]].location}: {answer}" if isinstance(answer, Lost) else answer
            )
            tick()
        return [results[k] for k in range(len(sources))]

    def _workers(self, sources: Sequence[ShapeSource]) -> Iterator[tuple[int, Any | Lost]]:
        if self._pool is None and sources:
            make = partial(CloudSeat, self.settings)
            self._pool = self._held.enter_context(
                ProcessPool(make, self.processes)
                if self.engine is None
                else self.engine.pool(make, shared=(sources[0].path.parent,))
            )
        return self._pool.run(sources) if self._pool is not None else iter(())


def attempt(source: ShapeSource, settings: CloudSettings) -> NDArray[np.float32] | str:
    """The points of a shape ``(points, 3)``, or the reason why it cannot be had, with the file's name."""
    try:
        return read_cloud(source, settings)
    except ImportError:  # a package is missing, which is not the fault of this file
        raise
    except MemoryError:
        return f"{source.location}: there is not enough memory for it"
    except Exception as error:  # whatever a damaged file makes a reader do, the others go on
        text = str(error) or type(error).__name__
        return text if str(source.path) in text else f"{source.location}: {text}"
