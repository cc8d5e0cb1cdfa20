"""Shapes as the same number of points each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from batchot.data import cloud_reading
from batchot.data.cloud_reading import CloudReader, CloudSettings, attempt, read_cloud
from batchot.shapes import ShapeError, farthest_points, load_shape
from batchot.shapes.source import ShapeSource
from data.shape_formats import box_off, cloud
from oracles.shape_sources import HostileSource


def npy(path: Path, seed: int, points: int = 32) -> ShapeSource:
    np.save(path, cloud(seed, points))
    return ShapeSource(path.stem, path)


def box(path: Path, height: float = 1.0) -> ShapeSource:
    path.write_bytes(box_off(height=height))
    return ShapeSource(path.stem, path)


def test_cloud_is_what_the_reader_of_shapes_gives(tmp_path: Path) -> None:
    source = npy(tmp_path / "a.npy", 1)
    expected = load_shape(source.path).points[:20]
    np.testing.assert_allclose(read_cloud(source, CloudSettings(points=20)), expected, atol=1e-6)
    (tmp_path / "a.xyz").write_text("\n".join(" ".join(map(str, row)) for row in cloud(1)))
    text = read_cloud(ShapeSource("a", tmp_path / "a.xyz"), CloudSettings(points=20))
    np.testing.assert_allclose(text, expected, atol=1e-6)


def test_up(tmp_path: Path) -> None:
    source = npy(tmp_path / "a.npy", 1)
    upright = read_cloud(source, CloudSettings(points=32))
    turned = read_cloud(source, CloudSettings(points=32, up="y"))
    np.testing.assert_allclose(turned, upright[:, [0, 2, 1]] * [1, -1, 1], atol=1e-6)
    of_collection = ShapeSource("a", source.path, up="y")
    np.testing.assert_array_equal(read_cloud(of_collection, CloudSettings(points=32)), turned)


def test_first_or_farthest(tmp_path: Path) -> None:
    source = npy(tmp_path / "a.npy", 1)
    everything = read_cloud(source, CloudSettings(points=32))
    np.testing.assert_array_equal(read_cloud(source, CloudSettings(points=5)), everything[:5])
    spread = read_cloud(source, CloudSettings(points=5, choice="farthest"))
    np.testing.assert_array_equal(spread, everything[farthest_points(everything, 5)])


def test_too_few(tmp_path: Path) -> None:
    source = npy(tmp_path / "a.npy", 1, points=3)
    with pytest.raises(
        ShapeError, match=r"a\.npy has 3 points, fewer than the 8 asked for; ask for fewer, or repeat"
    ):
        read_cloud(source, CloudSettings(points=8))
    repeated = read_cloud(source, CloudSettings(points=8, too_few="repeat"))
    np.testing.assert_array_equal(
        repeated, read_cloud(source, CloudSettings(points=3))[[0, 1, 2, 0, 1, 2, 0, 1]]
    )


def test_mesh_is_sampled_on_its_surface(tmp_path: Path) -> None:
    points = read_cloud(box(tmp_path / "box.off", height=2), CloudSettings(points=4000))
    half = np.array([0.5, 0.5, 1]) / np.sqrt(1.5)
    assert np.abs(points / half).max() == pytest.approx(1, abs=1e-5)
    on_side = np.isclose(np.abs(points), half, atol=1e-5)
    assert (on_side.sum(axis=1) >= 1).all()
    # Two sides of area 1 and four of area 2.
    assert on_side[:, 2].mean() == pytest.approx(0.2, abs=0.03)


def test_points_on_a_mesh_depend_on_content_and_seed_alone(tmp_path: Path) -> None:
    one, same, other = (
        box(tmp_path / name, height) for name, height in (("a.off", 1), ("b.off", 1), ("c.off", 2))
    )
    settings = CloudSettings(points=16)
    points = read_cloud(one, settings)
    np.testing.assert_array_equal(read_cloud(same, settings), points)
    assert not np.allclose(read_cloud(one, CloudSettings(points=16, seed=1)), points)
    shape = np.ptp(read_cloud(other, CloudSettings(points=900)), axis=0)
    assert shape[2] / shape[0] == pytest.approx(2, rel=0.05)


def test_farthest_points_of_a_mesh_are_spread_out(tmp_path: Path) -> None:
    source = box(tmp_path / "box.off")

    def closest(points: np.ndarray) -> float:
        gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(len(points))
        return float(gaps.min())

    plain = read_cloud(source, CloudSettings(points=64))
    spread = read_cloud(source, CloudSettings(points=64, choice="farthest"))
    assert closest(spread) > 3 * closest(plain)


@pytest.mark.parametrize("change", [{"points": 0}, {"choice": "random"}, {"too_few": "pad"}, {"up": "x"}])
def test_settings_that_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        CloudSettings(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n", ""),
        (b"\x93NUMPY\x01\0", ""),
    ],
)
@pytest.mark.parametrize("ending", [".off", ".npy"])
def test_damaged_files_are_reasons_with_their_name(
    tmp_path: Path, content: bytes, ending: str, reason: str
) -> None:
    path = tmp_path / f"ein Stück 椅子{ending}"
    path.write_bytes(content)
    result = attempt(ShapeSource("a", path), CloudSettings())
    assert isinstance(result, str)
    assert str(path) in result and reason in result


def test_cloud_that_is_not_finite(tmp_path: Path) -> None:
    points = cloud(1)
    points[7] = np.nan
    np.save(tmp_path / "a.npy", points)
    np.save(tmp_path / "b.npy", np.delete(points, 7, axis=0))
    with_nan, without = (
        attempt(ShapeSource(name, tmp_path / f"{name}.npy"), CloudSettings(points=31)) for name in "ab"
    )
    np.testing.assert_array_equal(with_nan, without)
    np.save(tmp_path / "c.npy", np.full((5, 3), np.inf))
    result = attempt(ShapeSource("c", tmp_path / "c.npy"), CloudSettings(points=4))
    assert isinstance(result, str) and "c.npy: none of 5 points is finite" in result


def test_several_processes_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_reading, "_PARALLEL_ABOVE", 2)
    sources = [box(tmp_path / f"{k}.off", 1 + k) for k in range(5)] + [npy(tmp_path / "a.npy", 1)]
    sources.insert(2, ShapeSource("missing", tmp_path / "missing.off"))
    ticks: list[None] = []
    with CloudReader(CloudSettings(points=8), processes=2) as reader:
        results = reader.read(sources, lambda: ticks.append(None))
        assert reader._pool is not None
    assert len(ticks) == 7
    for source, result in zip(sources, results, strict=True):
        alone = attempt(source, CloudSettings(points=8))
        assert isinstance(result, str) == isinstance(alone, str) == (source.name == "missing")
        np.testing.assert_array_equal(result, alone)


@pytest.mark.skipif(os.name != "posix", reason="needs a signal")
def test_process_that_dies_takes_only_its_shape_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_reading, "_PARALLEL_ABOVE", 2)
    sources = [box(tmp_path / f"{k}.off", 1 + k) for k in range(6)]
    sources[3] = HostileSource("3", sources[3].path, deed="killed")
    once = box(tmp_path / "once.off")
    sources[4] = HostileSource("once", once.path, deed="killed once")
    with CloudReader(CloudSettings(points=8), processes=2) as reader:
        results = reader.read(sources)
        again = reader.read(sources[:1])  # the processes stay for the next ones
    assert [isinstance(result, str) for result in results] == [False, False, False, True, False, False]
    assert "3.off: the process that had it died, it was ended by SIGKILL, perhaps for lack of memory" in str(
        results[3]
    )
    np.testing.assert_array_equal(again[0], results[0])
    np.testing.assert_array_equal(results[4], attempt(once, CloudSettings(points=8)))


def test_missing_package_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: ShapeSource, settings: CloudSettings) -> np.ndarray:
        raise ImportError("pip install 'batchot[shapes]'")

    monkeypatch.setattr(cloud_reading, "read_cloud", fail)
    with pytest.raises(ImportError, match=r"batchot\[shapes\]"):
        attempt(box(tmp_path / "box.off"), CloudSettings())
