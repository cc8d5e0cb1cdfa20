"""The audit passes an honest rendering and finds every leak that is planted in one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from batchot.audit.audit import AuditReport, empty_part, leak_audit
from batchot.shapes.render.cameras import Cameras, cameras_from_eyes, make_cameras
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.cache import ViewCache, view_id, view_path, write_views
from batchot.shapes.views.content import ContentIndex, source_id
from batchot.shapes.views.settings import ViewSettings, render_source
from oracles.shape_sources import write_tetrahedra

SETTINGS = ViewSettings(cameras="box-6", size=24, antialias=1, channels=("shaded", "depth"))
Change = Callable[[np.ndarray, ShapeSource, np.random.Generator], np.ndarray]


def make_cache(
    sources: list[ShapeSource], folder: Path, change: Change | None = None, seed: int = 0
) -> ViewCache:
    """A cache of renderings that ``change`` has had its hands on."""
    random = np.random.default_rng(seed)
    contents, _ = ContentIndex(folder / "contents.json").look_up(sources)
    keys = {view_id(source): contents[source_id(source)].sha256 for source in sources}
    for source in sources:
        views = render_source(source, SETTINGS)
        if change is not None:
            views = change(views.copy(), source, random)
        write_views(view_path(folder, keys[view_id(source)]), views)
    return ViewCache(folder, SETTINGS, keys, (), len(keys), 0.0)


def found(report: AuditReport) -> set[str]:
    return {check.name for check in report.checks if check.leak}


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_rendering_passes(tmp_path: Path, seed: int) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", 36, seed=seed)
    report = leak_audit(sources, make_cache(sources, tmp_path), seed=seed, progress=False)
    assert not report.leak and report.n_shapes == 36
    assert [check.test.p_value for check in report.checks if check.test] == [1.0, 1.0]
    assert report.lines()[-1] == "no leak was found"


@pytest.mark.parametrize("seed", range(3))
def test_a_background_that_differs_by_chance_is_no_leak_but_not_what_was_rendered(
    tmp_path: Path, seed: int
) -> None:
    def change(views: np.ndarray, source: ShapeSource, random: np.random.Generator) -> np.ndarray:
        views[:, 0][views[:, 0] == 255] = random.integers(240, 255)
        return views

    sources = write_tetrahedra(tmp_path / "shapes", 36, seed=seed)
    report = leak_audit(sources, make_cache(sources, tmp_path, change, seed), seed=seed, progress=False)
    assert found(report) == {"cache against renderer"}
    assert report.checks[0].test is not None and report.checks[0].test.p_value > 0.01


def grey_by_class(views: np.ndarray, source: ShapeSource, random: np.random.Generator) -> np.ndarray:
    views[:, 0][views[:, 0] == 255] = 255 - source.label
    return views


def corner_pixel_of_one_class(
    views: np.ndarray, source: ShapeSource, random: np.random.Generator
) -> np.ndarray:
    views[3, 1, 0, -1] = source.label == 1
    return views


def noise_by_class(views: np.ndarray, source: ShapeSource, random: np.random.Generator) -> np.ndarray:
    background = views[:, 0] == 255
    spread = 1 + 2 * source.label
    views[:, 0][background] = 255 - random.integers(0, spread, int(background.sum()))
    return views


def mark_in_a_place_of_each_class(
    views: np.ndarray, source: ShapeSource, random: np.random.Generator
) -> np.ndarray:
    views[0, 0, 0, source.label] = 0  # of the same grey for all: only the place tells
    return views


@pytest.mark.parametrize(
    "change", [grey_by_class, corner_pixel_of_one_class, noise_by_class, mark_in_a_place_of_each_class]
)
def test_a_background_that_depends_on_the_class_is_found(tmp_path: Path, change: Change) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", 45)
    report = leak_audit(sources, make_cache(sources, tmp_path, change), progress=False)
    assert "empty pixels" in found(report) and report.leak
    assert any(line.startswith("LEAK  empty pixels") and "chance 33.3 %" in line for line in report.lines())


def turned(azimuth: float) -> Cameras:
    return cameras_from_eyes([[math.cos(azimuth + k), math.sin(azimuth + k), 0.5] for k in range(6)])


@pytest.mark.parametrize("seed", range(3))
def test_cameras_that_depend_on_the_class_are_found_and_others_are_not(tmp_path: Path, seed: int) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", 45)
    cache = make_cache(sources, tmp_path)
    random = np.random.default_rng(seed)
    by_class = [turned(0.1 * source.label + random.uniform(-0.04, 0.04)) for source in sources]
    report = leak_audit(sources, cache, cameras=by_class, seed=seed, progress=False)
    assert found(report) == {"cameras"}
    by_chance = [turned(random.uniform(0, 6.28)) for _ in sources]
    assert not leak_audit(sources, cache, cameras=by_chance, seed=seed, progress=False).leak


def test_views_in_the_cache_from_other_cameras_are_found(tmp_path: Path) -> None:
    def change(views: np.ndarray, source: ShapeSource, random: np.random.Generator) -> np.ndarray:
        if source.label != 2:
            return views
        axes = make_cameras("box-6")
        turn = np.array([[math.cos(0.1), -math.sin(0.1), 0], [math.sin(0.1), math.cos(0.1), 0], [0, 0, 1]])
        other = Cameras("turned", axes.rotations @ turn, axes.distance, axes.extent)
        return render_source(source, replace(SETTINGS, cameras=other))

    sources = write_tetrahedra(tmp_path / "shapes", 36)
    report = leak_audit(sources, make_cache(sources, tmp_path, change), progress=False)
    assert found(report) == {"cache against renderer"}


@pytest.mark.parametrize("tell", ["label", "name", "path"])
def test_a_renderer_that_knows_what_it_draws_is_found(tmp_path: Path, tell: str) -> None:
    def render(source: ShapeSource, settings: ViewSettings) -> np.ndarray:
        views = render_source(source, settings)
        said = {"label": str(source.label), "name": source.name, "path": source.path.parent.name}[tell]
        views[0, 0, 12, 12] ^= "1" in said
        return views

    sources = write_tetrahedra(tmp_path / "shapes", 12)
    report = leak_audit(sources, make_cache(sources, tmp_path), render=render, progress=False)
    assert "one shape under other names" in found(report)


def test_no_shape_reaches_the_pixels_that_are_taken_for_empty() -> None:
    for cameras in ("box-6", "circle-12", cameras_from_eyes([[1, 2, 3]], distance=1.5)):
        settings = ViewSettings(cameras=cameras, size=64)
        random = np.random.default_rng(0)
        sphere = random.normal(size=(4000, 3))
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
        column, row, _ = settings.placed.project(sphere, 64).reshape(-1, 3).T
        empty = empty_part(settings)
        assert empty.any()
        inside = (column >= 0) & (column < 64) & (row >= 0) & (row < 64)
        assert not empty[row[inside].astype(int), column[inside].astype(int)].any()
    narrow = cameras_from_eyes([[1, 0, 0]], extent=0.5)
    with pytest.raises(ValueError, match="nothing but the shape"):
        empty_part(ViewSettings(cameras=narrow, size=64))


def test_cameras_are_needed_for_all_shapes_or_none(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path / "shapes", 9)
    with pytest.raises(ValueError, match="9 shapes but 1 cameras"):
        leak_audit(sources, make_cache(sources, tmp_path), cameras=[turned(0)], progress=False)
