"""Shapes by their names, and what is not wanted: alone and together with an embedding."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batchot.search.records import Filters
from batchot.search.searcher import NEAR, Query, Searcher
from batchot.search.store import ShapeStore, by_relevance, no_such_name
from search.test_searcher import make, networks
from search_support import make_record, unit_vectors

__all__ = ["networks"]
NAMES = {
    "screws/DIN_912/M8x30.step": "bolt",
    "screws/DIN_912/M8x100.step": "bolt",
    "screws/DIN_912/M10x30.step": "bolt",
    "plates/hexbolt plate.step": "plate",
    f"plates/{unicodedata.normalize('NFD', 'Träger')} 100%.step": "plate",
    "misc/it's_a_bolt.step": "",
    "misc/größe und maß.step": "ὁδός",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShapeStore]:
    with ShapeStore.create(str(tmp_path / "shapes"), 8) as made:
        x = unit_vectors(len(NAMES))
        made.add([make_record(name, x[k], c) for k, (name, c) in enumerate(NAMES.items())])
        yield made


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("bolt", 5),  # in a name, within a word of one, and as a class
        ("BOLT m8", 2),
        ("m8x30", 1),
        ("din-912", 3),
        ("träger", 1),  # as one character, where the file system keeps two
        ("GRÖSSE Maß", 1),  # which are größe and MASS in the other case
        ("ὉΔΌΣ", 1),
        ("100%", 2),  # no pattern: % stands for nothing
        ("it's", 1),
        ("' OR ''='", 0),
        ("screws plate", 0),
    ],
)
def test_each_word_is_part_of_name_or_class(store: ShapeStore, text: str, n: int) -> None:
    filters = Filters(text=text)
    assert store.count(filters) == len(store.names(filters)) == n
    assert sum(store.classes(filters).values()) == n
    hits = store.search(unit_vectors(1)[0], 10, filters=filters)
    assert {hit.name for hit in hits} == set(store.names(filters).values())


def test_names_follow_the_changes_of_the_index(store: ShapeStore) -> None:
    fresh = make_record("new/gear.step", unit_vectors(1)[0], "gear")
    store.add([fresh])
    assert list(store.names(Filters(text="gear"))) == [fresh.id]
    store.remove([fresh.id])
    assert store.count(Filters(text="gear")) == 0


def test_names_of_little_else_come_first() -> None:
    names = {name: name for name in ("oak_tree/m1.off", "tree/m10.off", "tree/m9.off", "street/m2.off")}
    expected = ["tree/m9.off", "tree/m10.off", "oak_tree/m1.off", "street/m2.off"]
    assert by_relevance(names, ("tree",)) == expected
    assert by_relevance(names, ()) == [expected[2], expected[3], *expected[:2]]  # as they are called


def test_a_word_that_no_name_holds_is_told(store: ShapeStore) -> None:
    assert no_such_name(("bolt", "plaet"), store) == (
        "no name and no class holds 'plaet'; did you mean 'plate'?"
    )
    assert no_such_name(("screws", "plate"), store) == ""  # each is held, by others
    with pytest.raises(ValueError, match="no letter"):
        Filters(text="?!").check({}, {})


def test_names_alone_and_with_a_shape(tmp_path: Path) -> None:
    make(tmp_path / "index")
    with Searcher.open(tmp_path / "index") as searcher:
        found = searcher.search_names(Filters(text="c1 off", classes=("c1",)), k=3, offset=1)
        assert [hit.name for hit in found.hits] == ["c1/4.off", "c1/7.off", "c1/10.off"]  # by value
        assert found.total == 13 and found.query == "name" and found.confidence is None
        query = Query(unit_vectors(1)[0], "shape", fingerprint="first")
        both = searcher.search_query(query, k=40, filters=Filters(text="c2"))
        assert both.total == 13 and {hit.class_name for hit in both.hits} == {"c2"}
        assert [hit.distance for hit in both.hits] == sorted(hit.distance for hit in both.hits)
        nothing = searcher.search_query(query, filters=Filters(text="c8"))
        assert not nothing.hits and "no name" in nothing.note
        assert "no name" in searcher.search_names(Filters(text="c8")).note
        like = searcher.similar(both.hits[0].id, k=40, filters=Filters(text="c2"))
        assert like.total == 12 and {hit.class_name for hit in like.hits} == {"c2"}
        classes, folders = searcher.counts(Filters(text="1", classes=("c1",)))
        assert set(classes) == {"c0", "c1", "c2"}  # what another choice would give
        assert set(folders) == {"c1"}


def test_what_is_not_wanted_goes_with_what_is_nearly_the_same(tmp_path: Path) -> None:
    manifest = make(tmp_path / "index")
    x = unit_vectors(40, seed=len("first"))
    assert manifest.spread is not None
    step = np.float32(0.5 * NEAR * manifest.spread)
    with ShapeStore.open(str(tmp_path / "index" / "shapes")) as store:
        twin = x[5] + step * unit_vectors(1, seed=9)[0]
        store.add([make_record("twin/5.off", twin, "c2")])
    with Searcher.open(tmp_path / "index") as searcher:
        query = Query(x[5], "shape", fingerprint="first")
        first = searcher.search_query(query, k=41)
        assert {hit.name for hit in first.hits[:2]} == {"c2/5.off", "twin/5.off"}
        left = searcher.search_query(query, k=41, filters=Filters(unlike=(first.hits[0].id,)))
        assert [hit.id for hit in left.hits] == [hit.id for hit in first.hits[2:]] and left.total == 39
        assert searcher.search_names(Filters(unlike=(first.hits[0].id,))).total == 39


def test_several_queries_are_asked_as_their_mean(tmp_path: Path) -> None:
    make(tmp_path / "index")
    x = unit_vectors(40, seed=len("first"))
    with Searcher.open(tmp_path / "index") as searcher:
        queries = [Query(x[k], "shape", fingerprint="first", note="") for k in (3, 8, 20)]
        found = searcher.search_query(searcher.fuse(queries), k=40)
        naive = {
            f"c{k % 3}/{k}.off": sum(float(np.sum((x[j] - x[k]) ** 2)) for j in (3, 8, 20)) for k in range(40)
        }
        assert [hit.name for hit in found.hits] == sorted(naive, key=lambda name: naive[name])
        assert "3 files" in found.note
        assert searcher.fuse(queries[:1]) is queries[0]
