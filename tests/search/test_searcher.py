"""An open index that changes, and what its answers tell. The networks are stand-ins: what is tested is who is asked."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from batchot.search import manifest as manifest_of
from batchot.search import searcher as searcher_of
from batchot.search.build import _finish, remove_from_index, writing
from batchot.search.confidence import Calibration
from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.map import Mapped, new_map, read_map, renewed_map
from batchot.search.records import NotThere, SearchError, Unavailable, plain, printable, record_id
from batchot.search.searcher import Query, Searcher
from batchot.search.store import ShapeStore
from batchot.towers.spec import Inputs
from search_support import make_record, unit_vectors

INPUTS = {"shape": {"points": 8}, "drawing": None}


@dataclasses.dataclass
class Network:
    """A network that gives each sample the vector of its name."""

    fingerprint: str
    dimensions: int = 8
    normalized: bool = True
    classes: tuple[str, ...] = ()
    inputs: Inputs = dataclasses.field(default_factory=lambda: Inputs.from_json(INPUTS))

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> Network:
        return cls((path / "name").read_text())

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        return np.repeat(unit_vectors(1, seed=len(self.fingerprint)), len(samples), 0)


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher_of, "load_encoder", Network.load)
    monkeypatch.setattr("batchot.search.encoder.load_encoder", Network.load)


def make(root: Path, fingerprint: str = "first", n: int = 40, d: int = 8, **changes: object) -> Manifest:
    """An index whose vectors are those of its number."""
    index = IndexFolder(root)
    index.model.mkdir(parents=True)
    (index.model / "name").write_text(fingerprint)
    x = unit_vectors(n, d, seed=len(fingerprint))
    with ShapeStore.create(str(index.shapes), d) as store:
        store.add(
            [make_record(f"c{k % 3}/{k}.off", x[k], f"c{k % 3}", content=f"{k:064x}") for k in range(n)]
        )
        with writing(index, lambda text: None):
            values = {
                "fingerprint": fingerprint,
                "run": "run",
                "dimensions": d,
                "normalized": True,
                "inputs": INPUTS,
            }
            manifest = Manifest(**{**values, **changes}).write(index.manifest)  # type: ignore[arg-type]
            return _finish(index, manifest, store, searcher_progress())


def searcher_progress():  # type: ignore[no-untyped-def]
    from batchot.search.build import Progress

    return Progress()


def test_an_index_made_anew_with_another_network_is_noticed(tmp_path: Path) -> None:
    make(tmp_path / "index")
    make(tmp_path / "other", "second network", n=30)
    with Searcher.open(tmp_path / "index") as searcher:
        query = Query(unit_vectors(1)[0], "shape", fingerprint="first")
        assert searcher.search_query(query).total == 40 and searcher.about.fingerprint == "first"
        shutil.rmtree(tmp_path / "index")
        with pytest.raises(Unavailable):
            searcher.search_query(query)
        shutil.move(tmp_path / "other", tmp_path / "index")
        assert searcher.about.count == 30 and searcher.about.fingerprint == "second network"
        assert searcher.encoder.fingerprint == "second network"
        with pytest.raises(NotThere, match="another network"):
            searcher.search_query(query)  # its vector means nothing here
        found = searcher.search_query(dataclasses.replace(query, fingerprint="second network"))
        assert found.total == 30 and len(searcher.map_points().ids) == 30
        (tmp_path / "index" / "model" / "name").write_text("third")
        manifest = Manifest.read(tmp_path / "index" / "index.json")
        dataclasses.replace(manifest, fingerprint="fourth").write(tmp_path / "index" / "index.json")
        with pytest.raises(Unavailable, match="not the network"):
            searcher.search_query(query)


def test_a_file_where_nobody_may_look_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "index")

    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    with Searcher.open(tmp_path / "index") as searcher:
        monkeypatch.setattr(Path, "is_file", refused)
        assert searcher.original(record_id("c0/0.off")) is None


def test_calibration_dates_and_classes_are_those_of_now(tmp_path: Path) -> None:
    make(tmp_path / "index")
    index = IndexFolder(tmp_path / "index")
    with Searcher.open(tmp_path / "index") as searcher:
        assert set(searcher.about.classes) == {"c0", "c1", "c2"}
        before = searcher.manifest.calibrations["shape"]
        with ShapeStore.open(str(index.shapes)) as store, writing(index, lambda text: None):
            x = unit_vectors(20, seed=99)
            store.add([make_record(f"new/{k}.off", x[k], "new") for k in range(20)])
            _finish(index, Manifest.read(index.manifest), store, searcher_progress())
        assert set(searcher.about.classes) == {"c0", "c1", "c2", "new"} and searcher.about.count == 60
        assert searcher.manifest.calibrations["shape"] != before
        assert len(searcher.map_points().ids) == 60


def test_the_very_file_and_what_is_nearly_the_same(tmp_path: Path) -> None:
    make(tmp_path / "index")
    x = unit_vectors(40, seed=len("first"))
    with Searcher.open(tmp_path / "index") as searcher:
        same = searcher.search_query(Query(x[7], "shape", content=f"{7:064x}", size=(1.0, 2.0, 3.0)))
        assert same.same_files == ("c1/7.off",) and same.hits[0].same_file and not same.hits[0].nearly_same
        assert not any(hit.same_file or hit.nearly_same for hit in same.hits[1:])
        turned = searcher.search_query(Query(x[7], "shape", content="f" * 64, size=(30.0, 10.0, 20.0)))
        assert turned.same_files == () and turned.hits[0].nearly_same  # of another size, and turned
        longer = searcher.search_query(Query(x[7], "shape", content="f" * 64, size=(1.0, 2.0, 3.2)))
        assert not longer.hits[0].nearly_same
        assert all(0 < hit.likeness < 1 for hit in same.hits if hit.likeness is not None)
        similar = searcher.similar(same.hits[0].id, k=3)
        assert similar.same_files == () and len(similar.hits) == 3 and similar.top_class == "c1"


def test_a_store_that_fails_is_no_missing_shape(tmp_path: Path) -> None:
    make(tmp_path / "index")
    with Searcher.open(tmp_path / "index") as searcher:
        with pytest.raises(NotThere):
            searcher.shape("0" * 24)
        shutil.rmtree(tmp_path / "index" / "shapes")
        with pytest.raises(Unavailable):
            searcher.shape(record_id("c0/0.off"))


def test_fields_of_other_versions_are_kept_and_missing_ones_filled_in(tmp_path: Path) -> None:
    made = make(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    values = json.loads(path.read_text())
    values |= {"of_tomorrow": {"a": [1]}}
    values["roots"] = [{"path": "/a", "prefix": "", "up": "auto", "of_tomorrow": 1}]
    values["calibrations"]["shape"]["of_tomorrow"] = 1
    path.write_text(json.dumps(values))
    read = Manifest.read(path)
    assert read.calibrations == made.calibrations and read.roots[0].path == "/a"
    read.write(path)
    assert json.loads(path.read_text())["of_tomorrow"] == {"a": [1]}
    older = {name: values[name] for name in ("format", "store", "created")}
    path.write_text(json.dumps(older))
    read = Manifest.read(path)  # what is missing is in the network and the store
    assert (read.fingerprint, read.dimensions, read.inputs) == (
        "first",
        8,
        INPUTS | {"shape": read.inputs["shape"]},
    )
    with Searcher.open(tmp_path / "index") as searcher:
        assert searcher.search_query(Query(unit_vectors(1)[0], "shape"), k=3).hits
    for damaged in ({"calibrations": 3}, {"store": None}, {"store": [1]}, {"inputs": "x"}, {"approximate": {}},
                    {"approximate": True}, {"approximate": {"probes": "x"}}, {"format": "1"}):  # fmt: skip
        path.write_text(json.dumps({**values, **damaged}))
        with pytest.raises(SearchError, match="damaged"):
            Manifest.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(SearchError, match="cannot be read"):
        Manifest.read(path)


def test_an_older_format_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    values = json.loads(path.read_text())
    values["width"] = values.pop("dimensions")
    path.write_text(json.dumps({**values, "format": 0}))
    renamed = {0: lambda old: {**{k: v for k, v in old.items() if k != "width"}, "dimensions": old["width"]}}
    monkeypatch.setattr(manifest_of, "_MIGRATIONS", renamed)
    assert Manifest.read(path).dimensions == 8


@pytest.mark.parametrize("store", ["s3://bucket/a", "hf://datasets/a", "az://a/b", "db://a", "/elsewhere"])
def test_a_store_elsewhere_is_asked_for_first(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = IndexFolder(tmp_path / "index")
    make(index.root)
    dataclasses.replace(Manifest.read(index.manifest), store=store).write(index.manifest)
    asked: list[str] = []
    monkeypatch.setattr(ShapeStore, "open", lambda uri, **options: asked.append(uri))
    for ask in (lambda: Searcher.open(index.root), lambda: remove_from_index(index.root, ["a"])):
        with pytest.raises(SearchError, match="--allow-store"):
            ask()
    assert asked == []
    Searcher.open(index.root, allow_store=True)
    Searcher.open(index.root, store="s3://mine")
    assert asked == [store, "s3://mine"]


def mapped(x: NDArray[np.float32]) -> Mapped:
    names = [f"{k}" for k in range(len(x))]
    return Mapped(names, ["c"] * len(x), names, x)


def test_what_is_new_on_the_map_moves_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(30, 6)) + 9 * np.eye(6)[k] for k in range(4)]).astype(np.float32)
    old = new_map(mapped(x[:118]))
    assert old.laid_out.all() and not old.stale
    monkeypatch.setattr("batchot.search.map.lay_out", lambda *a, **b: pytest.fail("laid out anew"))
    new = renewed_map(old, mapped(x))
    np.testing.assert_array_equal(new.xy[:118], old.xy)
    assert not new.laid_out[118:].any() and (new.total, new.changes) == (120, 2) and not new.stale
    fourth = new.xy[90:118].mean(0)
    assert all(np.linalg.norm(place - fourth) < 0.5 for place in new.xy[118:])  # beside its like
    fewer = renewed_map(new, Mapped(*(list(v)[20:] for v in (new.ids, new.classes, new.names)), x[20:]))
    np.testing.assert_array_equal(fewer.xy, new.xy[20:])
    assert fewer.changes == 22 and fewer.stale  # a tenth has changed
    assert renewed_map(new, mapped(x), {"3", "4"}).changes == 4


def test_a_map_shows_more_than_is_laid_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("batchot.search.map.MOST_POINTS", 50)
    monkeypatch.setattr("batchot.search.map.drawn_for_map.__defaults__", None, raising=False)
    points = new_map(mapped(unit_vectors(80)))
    assert len(points.ids) == 80 and points.total == 80 and np.isfinite(points.xy).all()


def test_a_large_change_is_laid_out_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchot.search import build

    index = IndexFolder(tmp_path / "index")
    make(index.root)
    laid = read_map(index.map)
    started: list[list[str]] = []
    monkeypatch.setattr(build, "_AT_ONCE", 10)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.append(command))
    remove_from_index(index.root, ["c0/0.off"])
    assert started == [] and len(read_map(index.map).ids) == 39
    np.testing.assert_array_equal(
        read_map(index.map).xy, laid.xy[[id != record_id("c0/0.off") for id in laid.ids]]
    )
    remove_from_index(index.root, [f"c1/{k}.off" for k in (1, 4, 7, 10)])
    assert [command[3:5] for command in started] == [["index", "map"]]
    points = build.lay_out_index(index.root)
    assert points.changes == 0 and len(points.ids) == 35 and not read_map(index.map).stale


def test_messages_are_for_people() -> None:
    assert plain("cannot identify image file <_io.BytesIO object at 0x7f31>") == "cannot identify image file"
    digits = "Exceeds the limit (4300 digits) for integer string conversion"
    assert plain(f"{digits}; use sys.set_int_max_str_digits() to increase the limit") == digits
    rust = "lance error: Not found: a.lance, /build/.cargo/registry/src/crates-6f17d22/lance/src/io.rs:51:13"
    assert plain(rust) == "lance error: Not found: a.lance"
    assert plain("the file /data/a.off is damaged") == "the file /data/a.off is damaged"
    assert printable("a\x1b]0;x\x07\r\nb\udcff\u202e") == "a\\x1b]0;x\\x07\\r\\nb\\udcff\\u202e"


def test_calibrations_that_cannot_be_read_are_fitted_anew(tmp_path: Path) -> None:
    make(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    values = json.loads(path.read_text())
    del values["calibrations"]["shape"]["slope"]
    path.write_text(json.dumps(values))
    assert Manifest.read(path).calibrations == {}
    remove_from_index(tmp_path / "index", ["c0/0.off"])
    assert isinstance(Manifest.read(path).calibrations["shape"], Calibration)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_shapes_can_be_taken_out_on_a_full_disk(small_disk: Path) -> None:
    index = IndexFolder(small_disk / "index")
    make(index.root)
    assert index.spare.stat().st_size == 4 << 20
    with (small_disk / "full").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert remove_from_index(index.root, ["c0/*"]) == 14
    with Searcher.open(index.root) as searcher:
        assert searcher.about.count == 26 and set(searcher.about.classes) == {"c1", "c2"}
        assert searcher.search_query(Query(unit_vectors(1)[0], "shape"), k=5).hits
    (small_disk / "full").unlink()
    remove_from_index(index.root, ["c1/1.off"])
    assert index.spare.exists()  # for the next time
