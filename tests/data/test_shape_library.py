"""The built-in shapes as a collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchot.data import DataError
from batchot.data.sets.by_name import load_collection
from batchot.data.sets.places import cache_folder
from batchot.data.sets.shape_folder import load_library
from batchot.shapes.library import CLASS_NAMES, write_library


def test_written_once_into_the_cache_folder() -> None:
    first = load_library(per_class=3)
    assert first.classes == tuple(sorted(CLASS_NAMES)) and first.kind == "meshes"
    assert len(first) == 3 * len(CLASS_NAMES)
    assert first.train[0].path.is_relative_to(cache_folder())
    times = {source.path: source.path.stat().st_mtime_ns for source in first.train}
    assert load_library(per_class=3) == first
    assert {source.path: source.path.stat().st_mtime_ns for source in first.train} == times


def test_what_an_interrupted_run_left_is_completed() -> None:
    first = load_library(per_class=3)
    content = first.train[0].content()
    first.train[0].path.unlink()
    first.test[0].path.write_bytes(b"OFF\n1")
    again = load_library(per_class=3)
    assert again == first and again.train[0].content() == content
    assert len(again.test[0].content()) > 100


def test_another_seed_is_another_library() -> None:
    one, other = load_library(per_class=3), load_library(per_class=3, seed=1)
    assert not {source.sha256() for source in one.train} & {source.sha256() for source in other.train}


def test_in_place(tmp_path: Path) -> None:
    write_library(tmp_path / "library", per_class=4)
    for root in (tmp_path, tmp_path / "library"):
        collection = load_collection("library", root)
        assert collection.name == "library" and collection.folder == tmp_path / "library"
        assert len(collection) == 4 * len(CLASS_NAMES)
    assert not cache_folder().exists()


def test_cache_folder_that_cannot_be_written(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_cache / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_cache / "file"))
    with pytest.raises(DataError, match=r"the built-in shapes cannot be written into .*file/batchot/library"):
        load_library(per_class=1)
