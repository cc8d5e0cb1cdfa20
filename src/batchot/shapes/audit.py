"""Does a rendering tell the class of a shape by anything but the shape? An audit of rendered views."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from batchot.shapes.audit_chance import chance_test
from batchot.shapes.audit_report import AuditCheck, AuditReport, chance_check
from batchot.shapes.cameras import Cameras, fitting_extent
from batchot.shapes.view_cache import ViewCache
from batchot.shapes.view_settings import ViewSettings, render_source

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
    """Look for leaks of the class in the views of a collection.

    1. Pixels in which no shape can be must not tell the class (a classifier, permutation test, p < 0.01).
    2. Nor may the cameras from which each shape was seen.
    3. Views in the cache must be what the renderer makes of the shape with these cameras, to the byte.
    4. A shape under the name, path and label of other classes must give the same bytes.

    Args:
        sources: labelled shapes; those without views are left out.
        cache: their views.
        cameras: of each shape, where they differ; those of the cache's settings if ``None``.
        render: the renderer that is audited.
        max_shapes: of more, this many are chosen by chance.
        n_rendered: shapes that are rendered again for 3; half as many for 4.
        seed: of all choices.
        progress: show a progress bar.

    Returns:
        What was found.

    Raises:
        ValueError: fewer than two classes of three shapes, or cameras that see nothing but the shape.

    Source:
        The audit that this project's brief for 3D shapes asks for; the leak in question is a class folder
        that was rendered in another session, with another background or another turn of the camera.
    """
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
    """The pixels in which no shape within the unit sphere can be seen.

    Args:
        settings: from where and how shapes are seen.

    Returns:
        Shape ``(h, w)``, the same for every view.

    Raises:
        ValueError: when there are none.

    Example:
        >>> from batchot.shapes.audit import empty_part
        >>> from batchot.shapes.view_settings import ViewSettings
        >>> empty = empty_part(ViewSettings(size=64))
        >>> bool(empty[0, 0]), bool(empty[0, 32])
        (True, False)
    """
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
