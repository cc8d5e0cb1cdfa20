"""A file of views is read as it was written, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.files import ViewCacheError
from batchot.shapes.views.cache import (
    DamagedViewsError,
    file_size,
    is_whole,
    read_views,
    read_views_into,
    write_views,
)

SHAPE = (3, 2, 8, 8)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, np.ndarray]:
    views = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    path = tmp_path / "views.npy"
    write_views(path, views)
    return path, views


def test_it_is_read_as_written_also_by_numpy(written: tuple[Path, np.ndarray]) -> None:
    path, views = written
    np.testing.assert_array_equal(read_views(path, SHAPE), views)
    np.testing.assert_array_equal(np.load(path), views)
    np.testing.assert_array_equal(np.load(path, mmap_mode="r"), views)
    assert path.stat().st_size == file_size(SHAPE)
    assert is_whole(path, SHAPE, check=True)


def test_views_that_are_not_contiguous_are_written_as_they_are(tmp_path: Path) -> None:
    views = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 1, 8, 8)[:, :, ::-1, ::2]
    write_views(tmp_path / "a.npy", views)
    np.testing.assert_array_equal(read_views(tmp_path / "a.npy", (2, 1, 8, 4)), views)


def test_every_changed_bit_and_every_cut_is_noticed(written: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, _ = written
    content = path.read_bytes()

    @given(st.integers(0, len(content) - 1), st.integers(0, 7))
    @settings(max_examples=60, deadline=None)
    def check(at: int, bit: int) -> None:
        changed = bytearray(content)
        changed[at] ^= 1 << bit
        for damaged in (bytes(changed), content[:at], content + content[: at + 1]):
            path.write_bytes(damaged)
            with pytest.raises(DamagedViewsError, match=r"views\.npy is damaged"):
                read_views(path, SHAPE)
            assert not is_whole(path, SHAPE, check=True)

    check()


def test_size_and_header_are_looked_at_even_without_the_checksum(written: tuple[Path, np.ndarray]) -> None:
    path, _ = written
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    read_views_into(path, np.empty(SHAPE, np.uint8), check=False)
    assert is_whole(path, SHAPE)
    for other in ((2, 3, 8, 8), (3, 2, 8, 9), (3, 2, 8, 7)):
        with pytest.raises(DamagedViewsError):
            read_views_into(path, np.empty(other, np.uint8), check=False)


def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "there.npy").mkdir()  # a folder, which no file can replace
    with pytest.raises(ViewCacheError, match=str(tmp_path)):
        write_views(tmp_path / "there.npy", np.zeros(SHAPE, np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["there.npy"]
