"""Shapes of a collection that occur twice, and what that says about its split."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

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
        return any(check.leak for check in self.checks)

    def lines(self) -> list[str]:
        verdict = "LEAK: the class of a shape can be told from more than the shape" if self.leak else ""
        return [
            f"audit of {self.n_shapes:,} shapes: {self.subject}",
            *map(str, self.checks),
            verdict or "no leak was found",
        ]


def chance_check(name: str, test: ChanceTest, what: str) -> AuditCheck:
    return AuditCheck(name, test.leak, f"{what}: {test}", test)


LEAK_BELOW = 0.01
PARTS = 5
MIN_CLASS = 3
_MAX_FEATURES = 128
_BINS = 8
_ENOUGH = 10  # permutations as good as the truth after which no more are needed


@dataclass(frozen=True)
class ChanceTest:
    """How well features tell the class, and how well they would by chance."""

    accuracy: float  # of the classifier, cross-validated in five parts
    chance: float  # share of the largest class, which is what the best blind guess reaches
    p_value: float  # how often labels that were shuffled are told as well as the true ones
    n: int  # samples
    n_classes: int  # classes; those of fewer than three samples are left out

    @property
    def leak(self) -> bool:
        """Whether the class can be told, p < 0.01."""
        return self.p_value < LEAK_BELOW

    def __str__(self) -> str:
        return (
            f"accuracy {100 * self.accuracy:.1f} %, chance {100 * self.chance:.1f} %, p = {self.p_value:.3f} "
            f"({self.n:,} shapes, {self.n_classes} classes)"
        )


def chance_test(
    features: ArrayLike, labels: ArrayLike, *, max_samples: int = 1000, permutations: int = 399, seed: int = 0
) -> ChanceTest:
    if permutations < 399:
        raise ValueError(f"permutations must be at least 399 for a p below 0.01, got {permutations}")
    random = np.random.default_rng(seed)
    x, y = _checked(features, labels, max_samples, random)
    one_hot = np.eye(int(y.max()) + 1)[y]  # (n, n_classes)
    n, n_classes = one_hot.shape
    chance = float(one_hot.mean(axis=0).max())
    x = x[:, (x != x[0]).any(axis=0)]
    if x.shape[1] == 0:  # nothing differs between any two shapes
        return ChanceTest(chance, chance, 1.0, n, n_classes)
    if x.shape[1] > _MAX_FEATURES:
        x = x[:, np.sort(random.permutation(x.shape[1])[:_MAX_FEATURES])]
    bins = _bins(x)
    predict = _cross_validated(bins, random)
    accuracy = float((_scores(predict, one_hot).argmax(axis=1) == y).mean())
    truth = _extremes(predict, bins, one_hot)
    exceeded, tried = np.zeros(2, np.int64), 0
    while tried < permutations and exceeded.min() < _ENOUGH:
        tried += 1
        # The margin is for labels that are the same but for the order in which sums are taken.
        exceeded += _extremes(predict, bins, one_hot[random.permutation(n)]) >= truth - 1e-9 * np.abs(truth)
    p_value = min(1.0, 2 * float((1 + exceeded.min()) / (1 + tried)))
    return ChanceTest(accuracy, chance, p_value, n, n_classes)


def _checked(
    features: ArrayLike, labels: ArrayLike, max_samples: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != (len(x),):
        raise ValueError(f"features must be (n, d) and labels (n,), got {x.shape} and {y.shape}")
    if not np.isfinite(x).all():
        raise ValueError("features must be finite")
    if len(x) > max_samples:
        chosen = np.sort(random.permutation(len(x))[:max_samples])
        x, y = x[chosen], y[chosen]
    _, y, counts = np.unique(y, return_inverse=True, return_counts=True)
    x, y = x[counts[y] >= MIN_CLASS], y[counts[y] >= MIN_CLASS]
    classes, y = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"at least two classes of {MIN_CLASS} or more shapes are needed to audit them")
    return x, y


def _bins(x: NDArray[np.float64]) -> NDArray[np.float64]:  # (n, number of bins of all features)
    """Which sample is in which bin, 0 or 1."""
    found = []
    for column in np.unique(x, axis=1).T:
        edges = np.unique(np.quantile(column, np.arange(1, _BINS) / _BINS, method="lower"))
        # Below, at and above each edge: a value that most samples have is told from its neighbours.
        numbers = np.searchsorted(edges, column, "left") + np.searchsorted(edges, column, "right")
        found.append(np.eye(int(numbers.max()) + 1)[numbers])
    bins = np.concatenate(found, axis=1)
    return bins[:, bins.any(axis=0)]


def _cross_validated(bins: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    r"""The matrix that takes labels to their predictions from the other parts, (n, n)."""
    n = len(bins)
    centred = bins - bins.mean(axis=0)
    kernel = centred @ centred.T
    errors = np.linalg.inv(kernel / kernel.diagonal().mean() + np.eye(n))  # I - H
    part = random.permutation(n) % PARTS
    predict = np.eye(n)
    for k in range(PARTS):
        own = np.flatnonzero(part == k)
        predict[own] -= np.linalg.solve(errors[np.ix_(own, own)], errors[own])
    return predict


def _scores(predict: NDArray[np.float64], one_hot: NDArray[np.float64]) -> NDArray[np.float64]:
    # The shares of the classes are the same for every permutation. Left to the parts they would differ a little
    # between these, always against the class of the samples left out, and hide a weak leak.
    shares = one_hot.mean(axis=0)
    return shares + predict @ (one_hot - shares)


def _extremes(
    predict: NDArray[np.float64], bins: NDArray[np.float64], one_hot: NDArray[np.float64]
) -> NDArray[np.float64]:  # (2,), each larger where features tell more
    error = ((_scores(predict, one_hot) - one_hot) ** 2).mean()
    # The number of samples in a bin and a class, if independent, is hypergeometric.
    n = len(one_hot)
    in_bin, in_class = bins.sum(axis=0)[:, None] / n, one_hot.sum(axis=0) / n
    variance = n * n / (n - 1) * in_bin * (1 - in_bin) * in_class * (1 - in_class)
    deviation = np.abs(bins.T @ one_hot - n * in_bin * in_class)
    largest = np.divide(deviation, np.sqrt(variance), out=np.zeros_like(variance), where=variance > 0).max()
    return np.array([-error, largest])
