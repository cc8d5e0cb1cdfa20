"""Tests of the store of an index."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from batchot.search.about import problems_of_store
from batchot.search.records import Filters, SearchError, record_id
from batchot.search.store import ShapeStore
from search_support import make_record, unit_vectors

WRITER = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from batchot.search.store import ShapeStore
from search_support import make_record, unit_vectors
store = ShapeStore.open(sys.argv[2])
who, n, each = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
for k in range(n):
    names = [f"{who}/{k}-{i}.off" for i in range(each)]
    store.add([make_record(name, unit_vectors(1, seed=i)[0]) for i, name in enumerate(names)])
    print(k, flush=True)  # acknowledged
"""


@pytest.fixture
def store(tmp_path: Path) -> ShapeStore:
    return ShapeStore.create(str(tmp_path / "shapes"), 8)


def filled(store: ShapeStore, n: int = 60) -> tuple[list[str], np.ndarray]:
    x = unit_vectors(n)
    names = [f"{'ab'[k % 2]}/{k % 3}/{k}.off" for k in range(n)]
    store.add(
        [make_record(name, v, f"class {k % 3}") for k, (name, v) in enumerate(zip(names, x, strict=True))]
    )
    return names, x


def test_search_is_that_of_a_naive_one(store: ShapeStore) -> None:
    names, x = filled(store)
    for query in unit_vectors(5, seed=9):
        hits = store.search(query, 7)
        expected = sorted(
            (float(np.linalg.norm(query - v)), record_id(n), n) for n, v in zip(names, x, strict=True)
        )
        assert [hit.name for hit in hits] == [name for _, _, name in expected[:7]]
        np.testing.assert_allclose([hit.distance for hit in hits], [d for d, _, _ in expected[:7]], atol=1e-5)


def test_what_is_stored_comes_back(store: ShapeStore, tmp_path: Path) -> None:
    record = make_record(
        "a/b.off", unit_vectors(1)[0], "cup's", path="/x/é b.off", member="m.off", kind="cloud"
    )
    store.add([record])
    again = ShapeStore.open(str(tmp_path / "shapes"))
    hit = again.get(record.id)
    for name in ("id", "name", "folder", "class_name", "path", "member", "kind", "faces", "vertices", "size"):
        assert getattr(hit, name) == getattr(record, name), name
    assert again.thumbnail(record.id) == record.thumbnail
    assert again.preview(record.id) == record.preview
    np.testing.assert_array_equal(again.vector(record.id), record.vector)
    assert again.contents() == {record.id: record.content}
    assert problems_of_store(again, normalized=True) == []


def test_filters(store: ShapeStore) -> None:
    names, x = filled(store)
    found = {hit.name for hit in store.search(x[0], 60, filters=Filters(classes=("class 1",)))}
    assert found == {name for k, name in enumerate(names) if k % 3 == 1}
    found = {hit.name for hit in store.search(x[0], 60, filters=Filters(folders=("a",)))}
    assert found == {name for name in names if name.startswith("a/")}
    found = {hit.name for hit in store.search(x[0], 60, filters=Filters(folders=("a/1/", "b/2")))}
    assert found == {name for name in names if name.startswith(("a/1/", "b/2/"))}
    both = Filters(classes=("class 0",), folders=("b",), exclude=(record_id(names[3]),))
    found = {hit.name for hit in store.search(x[0], 60, filters=both)}
    assert found == {n for k, n in enumerate(names) if k % 3 == 0 and n.startswith("b/")} - {names[3]}
    assert store.count(both) == len(found)
    assert store.search(x[0], 5, filters=Filters(classes=("no such",))) == []


@pytest.mark.parametrize(
    "name", ["cup's", "') OR true --", "%", "_", "кубок 杯", '"', "a\\b", "a;DROP TABLE shapes"]
)
def test_names_are_no_code(store: ShapeStore, name: str) -> None:
    x = unit_vectors(3)
    store.add([make_record("1.off", x[0], name), make_record("2.off", x[1], "other")])
    store.add([make_record(f"{name.replace('/', '')}/3.off", x[2], "third")])
    assert [hit.name for hit in store.search(x[1], 5, filters=Filters(classes=(name,)))] == ["1.off"]
    assert len(store.search(x[1], 5, filters=Filters(folders=(name,)))) == 1
    for id in ("' OR '1'='1", "x", "../etc", "A" * 24):
        with pytest.raises(SearchError, match="no id of a shape"):
            store.get(id)
        with pytest.raises(SearchError, match="no id of a shape"):
            store.remove([id])
    assert len(store) == 3


def test_a_folder_is_not_its_longer_neighbour(store: ShapeStore) -> None:
    x = unit_vectors(3)
    store.add(
        [make_record(name, v) for name, v in zip(("cup/1.off", "cups/1.off", "c_p/1.off"), x, strict=True)]
    )
    assert [hit.name for hit in store.search(x[0], 5, filters=Filters(folders=("cup",)))] == ["cup/1.off"]
    assert [hit.name for hit in store.search(x[0], 5, filters=Filters(folders=("c_p",)))] == ["c_p/1.off"]


def test_adding_again_replaces(store: ShapeStore) -> None:
    names, x = filled(store, 10)
    store.add([make_record(names[3], -x[3], "new"), make_record("more.off", x[0])])
    assert len(store) == 11
    assert store.get(record_id(names[3])).class_name == "new"
    np.testing.assert_array_equal(store.vector(record_id(names[3])), -x[3])
    store.remove([record_id(names[3]), record_id("never there")])
    assert len(store) == 10
    with pytest.raises(SearchError, match="no shape"):
        store.get(record_id(names[3]))


def test_what_does_not_fit_is_refused(store: ShapeStore, tmp_path: Path) -> None:
    x = unit_vectors(1)[0]
    with pytest.raises(SearchError, match="twice"):
        store.add([make_record("a", x), make_record("a", x)])
    with pytest.raises(SearchError, match="a: the embedding must be 8"):
        store.add([make_record("a", unit_vectors(1, 9)[0])])
    with pytest.raises(SearchError, match="finite"):
        store.add([make_record("a", x * np.nan)])
    with pytest.raises(SearchError, match="8 finite"):
        store.search(np.full(8, np.inf, np.float32), 3)
    with pytest.raises(SearchError, match="8 dimensions, not 9"):
        ShapeStore.create(str(tmp_path / "shapes"), 9)
    with pytest.raises(SearchError, match="missing"):
        ShapeStore.open(str(tmp_path / "nowhere"))
    assert len(store) == 0


def test_check_finds_what_is_wrong(store: ShapeStore) -> None:
    x = unit_vectors(4)
    store.add(
        [
            make_record("good", x[0]),
            make_record("long", 2 * x[1]),
            make_record("blind", x[2], thumbnail=b"no picture"),
            make_record("cut", x[3], preview=b"glTF\2\0\0\0\xff\0\0\0"),
        ]
    )
    problems = "\n".join(problems_of_store(store, normalized=True))
    assert (
        "no unit vector: long" in problems and "thumbnail: blind" in problems and "preview: cut" in problems
    )
    assert "good" not in problems
    assert len(problems_of_store(store, normalized=False)) == 2


def test_damaged_files_are_told(store: ShapeStore, tmp_path: Path) -> None:
    filled(store)
    store.close()
    data = sorted((tmp_path / "shapes").rglob("*.lance"), key=lambda p: p.is_file() and p.stat().st_size)[-1]
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    with pytest.raises(SearchError, match="shapes"):
        opened = ShapeStore.open(str(tmp_path / "shapes"))
        assert problems_of_store(opened, normalized=True) != []
        opened.search(unit_vectors(1)[0], 3)


def test_killed_while_adding_everything_acknowledged_is_there(store: ShapeStore, tmp_path: Path) -> None:
    rng = random.Random(0)
    uri = str(tmp_path / "shapes")
    for attempt in range(3):
        who = f"w{attempt}"
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(Path(__file__).parents[1]), uri, who, "1000", "4"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(rng.randrange(3, 8)):
            process.stdout.readline()
        time.sleep(rng.random() * 0.03)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        again = ShapeStore.open(uri)
        there = {name for name in again.names().values() if name.startswith(f"{who}/")}
        groups = {name.split("/")[1].split("-")[0] for name in there}
        assert len(there) == 4 * len(groups)  # whole additions, none in part
        assert len(groups) >= 3
        assert problems_of_store(again, normalized=True) == []
        again.add([make_record(f"after {attempt}", unit_vectors(1)[0])])


def test_every_acknowledged_addition_survives_a_kill(store: ShapeStore, tmp_path: Path) -> None:
    uri = str(tmp_path / "shapes")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(Path(__file__).parents[1]), uri, "w", "1000", "2"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(5)]
    process.kill()
    said += process.stdout.readlines()
    process.wait()
    names = set(ShapeStore.open(uri).names().values())
    for line in said:
        if line.strip():
            assert {f"w/{line.strip()}-0.off", f"w/{line.strip()}-1.off"} <= names


def test_two_add_and_one_reads(store: ShapeStore, tmp_path: Path) -> None:
    uri = str(tmp_path / "shapes")
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parents[1]), uri]
    writers = [
        subprocess.Popen(
            [*command, who, "12", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for who in ("left", "right")
    ]
    reader, seen = ShapeStore.open(uri), 0
    while any(writer.poll() is None for writer in writers):
        now = len(reader)
        assert now >= seen
        seen = now
        reader.search(unit_vectors(1)[0], 3)
    for writer in writers:
        _, error = writer.communicate()
        assert writer.returncode == 0, error
    assert len(ShapeStore.open(uri)) == 72
    time.sleep(1.2)
    assert len(reader) == 72


def test_approximate_search_and_what_comes_after(tmp_path: Path) -> None:
    store = ShapeStore.create(str(tmp_path / "shapes"), 16)
    centres = unit_vectors(40, 16)
    x = np.repeat(centres, 50, 0) + 0.05 * unit_vectors(2000, 16, seed=1)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    store.add([make_record(f"{k}.off", v) for k, v in enumerate(x)])
    assert not store.has_approximate
    report = store.build_approximate()
    assert store.has_approximate
    assert report.recall >= 0.95 and report.shapes == 2000
    new = -x[:1] + 0.3 * x[500:501]
    new /= np.linalg.norm(new)
    store.add([make_record("new.off", new[0])])  # after the index was built
    assert store.search(new[0], 1)[0].name == "new.off"
    store.optimize()
    assert store.search(new[0], 1)[0].name == "new.off"
    store.remove([record_id("new.off")])
    assert store.search(new[0], 1)[0].name != "new.off"
    with ShapeStore.open(str(tmp_path / "shapes"), probes=store.probes) as again:
        hits = [
            {h.id for h in again.search(q, 10)} & {h.id for h in again.search(q, 10, exact=True)}
            for q in x[::100]
        ]
    assert np.mean([len(both) / 10 for both in hits]) >= 0.9


def test_cloud_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANCEDB_API_KEY", raising=False)
    with pytest.raises(SearchError, match="LANCEDB_API_KEY"):
        ShapeStore.open("db://shapes")


def test_photos_are_compared_with_a_column_of_their_own(tmp_path: Path) -> None:
    vectors, photos = unit_vectors(3), unit_vectors(3, 4, seed=1)
    with ShapeStore.create(str(tmp_path / "s"), 8, photo_dimensions=4) as store:
        store.add([make_record(f"{k}.off", vectors[k], photo=photos[2 - k]) for k in range(3)])
        assert store.photo_dimensions == 4
        hits = store.search(photos[0], 1, photo=True)
        assert [hit.name for hit in hits] == ["2.off"] and hits[0].distance < 1e-3
        assert store.search(vectors[0], 1)[0].name == "0.off"
    with ShapeStore.create(str(tmp_path / "old"), 8) as store:
        store.add([make_record("a.off", vectors[0], photo=photos[0])])
        assert store.photo_dimensions == 0
