"""Shapes of a collection that occur twice, and what that says about its split."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from batchot.audit.chance import ChanceTest, chance_test
from batchot.shapes.render.cameras import Cameras, fitting_extent
from batchot.shapes.views.cache import ViewCache
from batchot.shapes.views.settings import ViewSettings, render_source

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource

Render: TypeAlias = "Callable[[ShapeSource, ViewSettings], NDArray[np.uint8]]"

# The discs of a sparse cloud of points and drawn lines reach a little out of the sphere of the shape.
_MARGIN = 1.15
_VARYING_PIXELS = 128


def leak_audit(
    sources: Sequence[ShapeSource],
    cache: ViewCache,
    *,
    cameras: Sequence[Cameras] | None = None,
    render: Render = render_source,
    max_shapes: int = 1000,
    n_rendered: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> AuditReport:
    """Look for leaks of the class in the views of a collection."""
    if cameras is not None and len(cameras) != len(sources):
        raise ValueError(
            f"there are {len(sources)} shapes but {len(cameras)} cameras, one is needed for each"
        )
    random = np.random.default_rng(seed)
    there = np.array([index for index, source in enumerate(sources) if source in cache], dtype=np.int64)
    chosen = np.sort(random.permutation(there)[:max_shapes])
    shapes = [sources[index] for index in chosen]
    labels = np.array([source.label for source in shapes], dtype=np.int64)
    pixels = chance_test(_empty_features(shapes, cache, progress), labels, seed=seed)
    settings = cache.settings
    own = [settings.placed if cameras is None else cameras[index] for index in chosen]
    seen_from = chance_test(np.stack([_camera_features(camera) for camera in own]), labels, seed=seed)
    again = [shapes[index] for index in random.permutation(len(shapes))[:n_rendered]]
    return AuditReport(
        f"{len(settings.placed.rotations)} views of {settings.size} x {settings.size} in {cache.folder}",
        len(shapes),
        (
            chance_check("empty pixels", pixels, "the class, from pixels in which no shape can be"),
            chance_check("cameras", seen_from, "the class, from where each shape was seen"),
            _check_cache(again, cache, render),
            _check_names(again[: max(1, n_rendered // 2)], sources, settings, render),
        ),
    )


def empty_part(settings: ViewSettings) -> NDArray[np.bool_]:
    """The pixels in which no shape within the unit sphere can be seen."""
    camera = settings.placed
    radius = _MARGIN * fitting_extent(camera.distance) / camera.extent
    at = (np.arange(settings.size) + 0.5) / settings.size * 2 - 1
    empty = np.hypot(at[:, None], at[None, :]) > radius
    if not empty.any():
        raise ValueError(
            f"cameras {camera.name!r} of extent {camera.extent:g} see nothing but the shape at {settings.size} "
            "pixels; audit a rendering with a larger extent or size"
        )
    return empty


def _empty_features(
    shapes: Sequence[ShapeSource], cache: ViewCache, progress: bool
) -> NDArray[np.float64]:  # (n, d)
    empty = empty_part(cache.settings)
    v, c = cache.settings.view_shape[:2]
    lowest = np.full((v, c, int(empty.sum())), 255, np.uint8)
    highest = np.zeros_like(lowest)
    levels = np.empty((len(shapes), 4, v * c))
    for k, shape in enumerate(tqdm(shapes, desc="empty pixels", disable=not progress, leave=False)):
        pixels = cache.load(shape)[:, :, empty]
        np.minimum(lowest, pixels, out=lowest)
        np.maximum(highest, pixels, out=highest)
        flat = pixels.reshape(v * c, -1)
        levels[k] = flat.mean(axis=1), flat.std(axis=1), flat.min(axis=1), flat.max(axis=1)
    features = levels.reshape(len(shapes), -1)
    varying = np.flatnonzero(lowest.reshape(-1) != highest.reshape(-1))
    if len(varying) == 0:
        return features
    if len(varying) > _VARYING_PIXELS:
        varying = varying[np.linspace(0, len(varying) - 1, _VARYING_PIXELS).astype(np.int64)]
    single = np.stack([cache.load(shape)[:, :, empty].reshape(-1)[varying] for shape in shapes])
    return np.concatenate([features, single], axis=1)


def _camera_features(camera: Cameras) -> NDArray[np.float64]:
    distance = 0.0 if np.isinf(camera.distance) else 1 / camera.distance
    return np.concatenate([camera.rotations.round(9).reshape(-1), [distance, camera.extent]])


def _check_cache(shapes: Sequence[ShapeSource], cache: ViewCache, render: Render) -> AuditCheck:
    name = "cache against renderer"
    for shape in shapes:
        if not np.array_equal(cache.load(shape), render(shape, cache.settings)):
            return AuditCheck(
                name,
                True,
                f"the views of {shape.name} in {cache.path_of(shape)} are not what the renderer makes of it "
                "with the settings of the cache; they come from other cameras or another renderer",
            )
    return AuditCheck(name, False, f"{len(shapes)} shapes rendered again gave the same bytes")


def _check_names(
    shapes: Sequence[ShapeSource], sources: Sequence[ShapeSource], settings: ViewSettings, render: Render
) -> AuditCheck:
    name = "one shape under other names"
    disguises = {source.label: source for source in sources}
    tried: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            truth = render(shape, settings)
            others = [label for label in disguises if label != shape.label][:5]
            for label in others:
                other = _disguised(shape, disguises[label], Path(folder))
                tried.add(label)
                if not np.array_equal(render(other, settings), truth):
                    return AuditCheck(
                        name, True, f"{shape.name} looks otherwise when it is called {other.name}"
                    )
    return AuditCheck(
        name, False, f"{len(shapes)} shapes gave the same bytes under the names of {len(tried)} classes"
    )


def _disguised(shape: ShapeSource, other: ShapeSource, folder: Path) -> ShapeSource:
    """``shape`` with the label of another, and with its name and path as far as a file can have them."""
    name = f"{other.name}_disguised"
    if shape.member is not None:  # in an archive only the name can be another
        return replace(shape, name=name, label=other.label)
    path = (
        folder
        / other.path.parent.parent.name
        / other.path.parent.name
        / f"{other.path.stem}{shape.path.suffix}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(shape.path, path)
    return replace(shape, name=name, label=other.label, path=path)


@dataclass(frozen=True)
class AuditCheck:
    """One thing that was looked at."""

    name: str  # what it was
    leak: bool  # whether it tells, or may tell, the class of a shape
    finding: str  # in words
    test: ChanceTest | None = None  # the classifier against chance, where there was one

    def __str__(self) -> str:
        return f"{'LEAK' if self.leak else 'ok':5} {self.name}: {self.finding}"


@dataclass(frozen=True)
class AuditReport:
    """All that an audit has looked at."""

    subject: str  # whose views they are
    n_shapes: int  # shapes that were looked at
    checks: tuple[AuditCheck, ...]  # what was found

    @property
    def leak(self) -> bool:
        """Whether any check has found one."""
        return any(check.leak for check in self.checks)

    def lines(self) -> list[str]:
        """The report to be printed."""
        verdict = "LEAK: the class of a shape can be told from more than the shape" if self.leak else ""
        return [
            f"audit of {self.n_shapes:,} shapes: {self.subject}",
            *map(str, self.checks),
            verdict or "no leak was found",
        ]


def chance_check(name: str, test: ChanceTest, what: str) -> AuditCheck:
    """The check that a classifier is at chance."""
    return AuditCheck(name, test.leak, f"{what}: {test}", test)
