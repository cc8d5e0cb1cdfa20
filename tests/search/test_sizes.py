"""Tests of sizes in an index: measured, looked for, sorted by, and filled into an index that lacks them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import lancedb
import numpy as np
import pytest

from batchot.cli import main
from batchot.commands.common import Parser
from batchot.commands.search import add_sizes, size_filters
from batchot.search.answer_page import hit_json
from batchot.search.manifest import IndexFolder
from batchot.search.records import Filters, QueryRefused, Range, in_order, range_of
from batchot.search.sandbox import Sandbox
from batchot.search.schema import SIZES
from batchot.search.searcher import Query, Searcher
from batchot.search.store import ShapeStore
from batchot.shapes.measure import area_and_volume
from batchot.shapes.shape import Mesh
from batchot.towers.spec import Inputs
from oracles import cad_files
from oracles.shape_files import BOX, TRIANGLES
from oracles.solids import cube, sphere
from serve_support import serving

LENGTHS = (50, 80, 100, 108, 130, 200)


def box(length: float, turned: bool = False) -> bytes:
    corners = BOX * [length, 10.0 / 2, 20.0 / 3]
    corners = corners[:, [1, 2, 0]] if turned else corners
    rows = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in corners.tolist())
    faces = "".join(f"3 {a} {b} {c}\n" for a, b, c in TRIANGLES.tolist())
    return f"OFF\n8 12 0\n{rows}{faces}".encode()


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boxes of 50 to 200 by 10 by 20, one of them standing, and one open, all without a unit."""
    folder = tmp_path_factory.mktemp("boxes")
    for length in LENGTHS:
        (folder / f"{length}.off").write_bytes(box(length, length == 108))
    (folder / "open.off").write_bytes(box(104).replace(b"8 12 0", b"8 11 0").rpartition(b"3 ")[0])
    (folder / "points.xyz").write_text("0 0 0\n300 0 0\n0 10 20\n" * 30)
    return folder


@pytest.fixture(scope="module")
def index(boxes: Path, sketch_run: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sizes") / "index"
    assert build(sketch_run[0], boxes, out) == 0
    return out


def build(run: Path, folder: Path, out: Path) -> int:
    return main(["index", "build", str(run), str(folder), "--out", str(out), "--device=cpu", "--processes=1"])


@pytest.fixture(scope="module")
def searcher(index: Path) -> Iterator[Searcher]:
    with Searcher.open(index, device="cpu", sandbox=one_process) as made:
        yield made


def one_process(inputs: Inputs) -> Sandbox:
    return Sandbox(inputs, processes=1)


def found(searcher: Searcher, query: Path, *options: str) -> list[dict[str, object]]:
    """What the command finds with these options."""
    parser = Parser()
    add_sizes(parser)
    chosen = parser.parse_args(options)
    answer = searcher.search_file(query, filters=Filters(**size_filters(chosen)))
    return [hit_json(hit) for hit in in_order(answer.hits, chosen.sort)]


def names(hits: list[dict[str, object]]) -> list[str]:
    return [str(hit["name"]) for hit in hits]


@pytest.mark.parametrize(
    ("text", "power", "right"),
    [
        ("100..140mm", 1, Range(100, 140, True)),
        ("120", 1, Range(108, 132)),
        ("..5in", 1, Range(0, 127, True)),
        ("2.5m ..", 1, Range(2500, float("inf"), True)),
        (" 1 .. 2 cm2 ", 2, Range(100, 200, True)),
        ("1e3..", 3, Range(1000, float("inf"))),
        ("100mm..14 CM", 1, Range(100, 140, True)),
        ("30 cm²", 2, Range(2700, 3300, True)),
        ("..5 µm", 1, Range(0, 0.005, True)),
    ],
)
def test_ranges(text: str, power: int, right: Range) -> None:
    read = range_of(text, power)
    assert (read.mm, read.low, read.high) == pytest.approx((right.mm, right.low, right.high))


@pytest.mark.parametrize(
    "text",
    ["", "..", "mm", "-5mm", "5 6", "9..8", "12 parsec", "3mm2", "1..2..3", "nan", "1;2", "1,5cm", "1e400", "1e308m..",
     "1..1e400", "1mm..2parsec", "1mm cm"],
)  # fmt: skip
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="give one such as"):
        range_of(text)


@pytest.mark.parametrize("text", [" " * 99 + "!", "1 " * 49 + "!", "1" * 99 + "!"])
@pytest.mark.flaky(reruns=2)  # holds a clock
def test_what_is_no_range_is_told_at_once(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match="give one such as"):
        range_of(text)
    assert time.process_time() - start < 0.1  # 99 spaces once took seconds, in which nobody was answered


def test_area_and_volume_of_known_solids() -> None:
    assert area_and_volume(cube(0.5)) == pytest.approx((6, 1))
    area, volume = area_and_volume(sphere(48, 10.0))
    assert area == pytest.approx(4 * np.pi * 100, rel=3e-3) and volume == pytest.approx(
        4000 * np.pi / 3, rel=5e-3
    )
    inner = cube(0.25)
    hollow = Mesh(
        np.concatenate([cube().vertices, inner.vertices]),
        np.concatenate([cube().faces, inner.faces[:, ::-1] + 8]),
    )
    assert area_and_volume(hollow) == pytest.approx((7.5, 0.875))


def test_volume_where_the_faces_do_not_know_of_one_another() -> None:
    generator = np.random.default_rng(3)
    for shift in (0.0, 1e6):  # also far from the origin
        mesh = cube()
        faces = np.where(generator.random((12, 1)) < 0.5, mesh.faces, mesh.faces[:, ::-1])
        assert area_and_volume(Mesh(mesh.vertices + shift, faces)) == pytest.approx((6, 1))
        assert area_and_volume(Mesh(mesh.vertices + shift, faces[:-2]))[1] is None  # a side is open


def test_a_record_of_each_size(searcher: Searcher, boxes: Path) -> None:
    hits = {str(hit["name"]): hit for hit in found(searcher, boxes / "50.off")}
    assert len(hits) == 8
    for length in LENGTHS:
        hit = hits[f"{length}.off"]
        assert hit["area"] == pytest.approx(2 * (length * 10 + length * 20 + 200)) and hit["unit"] == ""
        assert hit["volume"] == pytest.approx(length * 200)
    assert hits["open.off"]["volume"] is None and hits["open.off"]["area"] > 0  # type: ignore[operator]
    assert hits["points.xyz"]["area"] is None and hits["points.xyz"]["volume"] is None


@pytest.mark.parametrize(
    ("options", "right"),
    [
        (["--size", "120"], {"108.off", "130.off"}),
        (["--size", "100", "--within", "5"], {"100.off", "open.off"}),
        (["--size", "100..108"], {"100.off", "108.off", "open.off"}),
        (["--size", "120mm"], set()),  # no file says that it is in mm
        (["--volume", "..16000"], {"50.off", "80.off"}),
        (["--area", "8000.."], {"130.off", "200.off"}),
        (["--same-size"], {"108.off", "100.off", "open.off"}),
        (["--same-size", "--within", "0.1"], {"100.off"}),
    ],
)
def test_filters(options: list[str], right: set[str], searcher: Searcher, boxes: Path) -> None:
    assert set(names(found(searcher, boxes / "100.off", *options))) == right


def test_sorting(searcher: Searcher, boxes: Path) -> None:
    hits = found(searcher, boxes / "100.off", "--sort=-size")
    assert names(hits)[:3] == ["points.xyz", "200.off", "130.off"]
    hits = found(searcher, boxes / "100.off", "--sort=volume")
    assert names(hits)[:2] == ["50.off", "80.off"] and set(names(hits)[-2:]) == {"open.off", "points.xyz"}
    answer = searcher.search_file(boxes / "100.off")
    assert in_order(answer.hits, "distance") == answer.hits


def test_a_wrong_range_is_told(index: Path, boxes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(index), str(boxes / "50.off"), "--size", "big"]) == 2
    assert "give one such as 120mm" in capsys.readouterr().err


def test_a_drawing_has_no_size(searcher: Searcher) -> None:
    with pytest.raises(QueryRefused, match="a drawing or a name has no size"):
        drawing = Query(np.zeros(searcher.store.dimensions, np.float32), "drawing")
        searcher.search_query(drawing, filters=Filters(same_size=5.0))


def test_known_units(
    sketch_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cascadio")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inch.step").write_bytes(cad_files.step(unit="in"))
    (tmp_path / "parts" / "mm.3mf").write_bytes(cad_files.threemf())
    (tmp_path / "parts" / "bare.off").write_bytes(box(76.2))
    assert build(sketch_run[0], tmp_path / "parts", tmp_path / "index") == 0
    query = tmp_path / "parts" / "mm.3mf"
    with Searcher.open(tmp_path / "index", device="cpu", sandbox=one_process) as searcher:
        assert names(found(searcher, query, "--size", "3in", "--within", "1")) == ["inch.step"]
        both = found(searcher, query, "--size", "76.2", "--within", "1")
        assert set(names(both)) == {"inch.step", "bare.off"}
        (hit,) = found(searcher, query, "--size", "..5mm")
    assert (
        hit["unit"] == "mm" and hit["volume"] == pytest.approx(6) and hit["size"] == pytest.approx([1, 2, 3])
    )
    assert main(["search", str(tmp_path / "index"), str(query), "--size", "..5mm", "--device=cpu"]) == 0
    assert "1 x 2 x 3 mm, 22 mm2, 6 mm3" in capsys.readouterr().out


def _as_of_old(index: Path) -> None:
    """Take out what older versions did not write."""
    table = lancedb.connect(str(index / "shapes")).open_table("shapes")
    rows = table.to_arrow()
    cards = [json.loads(card) for card in rows["card"].to_pylist()]
    old = [
        json.dumps({k: v for k, v in card.items() if k not in ("area", "volume", "unit")}) for card in cards
    ]
    rows = rows.set_column(rows.schema.get_field_index("card"), rows.schema.field("card"), [old])
    kept = rows.select([name for name in rows.schema.names if name not in SIZES])
    lancedb.connect(str(index / "shapes")).create_table("shapes", kept, mode="overwrite")


def test_an_older_index_gets_its_sizes_without_embedding(
    boxes: Path,
    sketch_run: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = tmp_path / "index"
    assert build(sketch_run[0], boxes, index) == 0
    _as_of_old(index)
    with Searcher.open(index, device="cpu", sandbox=one_process) as searcher:
        hits = found(searcher, boxes / "50.off")
        with pytest.raises(QueryRefused, match="built before sizes were kept; batchot index build"):
            found(searcher, boxes / "50.off", "--size", "50")
    assert len(hits) == 8 and hits[0]["volume"] is None and max(hits[0]["size"]) == 50  # type: ignore[call-overload]
    before = _vectors(index)
    monkeypatch.setattr("batchot.search.encoder.RunEncoder.shapes", _never)
    assert build(sketch_run[0], boxes, index) == 0
    assert "8 shapes got their sizes" in capsys.readouterr().out
    monkeypatch.undo()
    assert all((before[id] == vector).all() for id, vector in _vectors(index).items()) and len(before) == 8
    with Searcher.open(index, device="cpu", sandbox=one_process) as searcher:
        assert names(found(searcher, boxes / "50.off", "--volume", "10000", "--within", "1")) == ["50.off"]
    assert build(sketch_run[0], boxes, index) == 0
    assert "got their sizes" not in capsys.readouterr().out  # once is enough


def _never(*_: object) -> None:
    raise AssertionError("something was embedded")


def _vectors(index: Path) -> dict[str, np.ndarray]:
    with ShapeStore.open(str(IndexFolder(index).shapes)) as store:
        found_ids, _, vectors = store.vectors()
    return dict(zip(found_ids, vectors, strict=True))


def test_filters_of_the_api(index: Path, boxes: Path) -> None:
    httpx = pytest.importorskip("httpx", reason="the tests of the API need httpx")
    with (
        serving(index, "--processes", "1") as (address, _),
        httpx.Client(base_url=f"{address}/api/v1") as client,
    ):
        data = (boxes / "100.off").read_bytes()
        hits = client.post(
            "/search", params={"size": "100..108", "sort": "-size"}, content=data, timeout=60
        ).json()["hits"]
        assert [hit["name"] for hit in hits] == ["108.off", "open.off", "100.off"]
        assert (
            hits[2]["volume"] == pytest.approx(20000)
            and hits[2]["unit"] is None
            and hits[1]["volume"] is None
        )
        answer = client.post(
            "/search", params={"same_size": "true", "within": 1}, content=data, timeout=60
        ).json()
        assert [hit["name"] for hit in answer["hits"]] == ["100.off"] and answer["total"] == 1
        again = client.get(f"/queries/{answer['query_id']}", params={"volume": "26000", "within": 1}).json()
        assert [hit["name"] for hit in again["hits"]] == ["130.off"]
        wrong = client.get(f"/shapes/{hits[0]['id']}/similar", params={"size": "big"})
        assert wrong.status_code == 400 and "give one such as" in wrong.json()["error"]["message"]
