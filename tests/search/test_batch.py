"""Many queries at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from batchot.cli import main
from batchot.search import batch
from batchot.search.searcher import Searcher
from search_support import draw_sketch
from shape_folders import write_off


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_off(tmp_path / "asked" / "deep" / "b.off", "bottle", 2)
    write_off(tmp_path / "asked" / "s.off", "stairs", 3)
    draw_sketch(tmp_path / "asked" / "drawn.png", "bottle", 3)
    (tmp_path / "asked" / ".hidden").write_text("no query")
    return tmp_path / "asked"


def test_a_folder_of_queries_is_one_table(
    small_index: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "found.csv"  # within the folder: it is no query
    command = ["search", str(small_index), str(folder), "--csv", str(out), "-k", "2", "--device=cpu"]
    assert main(command) == 0
    rows = _rows(out)
    assert [row["query"] for row in rows] == ["deep/b.off"] * 2 + ["drawn.png"] * 2 + ["s.off"] * 2
    assert rows[0]["name"] == "bottle/2.off" and rows[0]["same_file"] == "True" and rows[0]["rank"] == "1"
    assert "3 of 3 files" in capsys.readouterr().out
    (folder / "bad.off").write_bytes(b"OFF\nbroken")
    (folder / "s.off").rename(folder / "=cmd|calc.off")
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "3 of 4 files" in said and "bad.off" in said
    bad = next(row for row in _rows(out) if row["error"])
    assert bad["query"] == "bad.off" and bad["error"] and not bad["name"]
    assert any(row["query"] == "'=cmd|calc.off" for row in _rows(out))  # no formula for a spreadsheet
    assert not list(folder.glob("*.part"))


def test_what_was_looked_up_before_an_interruption_is_kept(
    small_index: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked, stop = tmp_path / "found.csv", [], ["drawn.png"]
    with Searcher.open(small_index, device="cpu") as searcher:
        ask = searcher.search_file

        def counted(path, **options):  # type: ignore[no-untyped-def]
            asked.append(path.name)
            if path.name in stop:
                raise KeyboardInterrupt
            return ask(path, **options)

        monkeypatch.setattr(searcher, "search_file", counted)
        with pytest.raises(KeyboardInterrupt):
            batch.search_many(searcher, folder, out, k=1)
        assert not out.exists()
        stop.clear()
        part = tmp_path / "found.csv.part"
        part.write_text(part.read_text() + '{"query": "drawn.p')  # killed amid a line
        assert batch.search_many(searcher, folder, out, k=1) == []
        assert asked == ["b.off", "drawn.png", "drawn.png", "s.off"]
        assert [row["query"] for row in _rows(out)] == ["deep/b.off", "drawn.png", "s.off"]
        before = out.read_bytes()
        asked.clear()
        batch.search_many(searcher, folder, out, k=1)  # whole before: all are asked for anew
        assert asked == ["b.off", "drawn.png", "s.off"] and out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}"], "--csv"),
        (["{folder}", "{folder}/s.off", "--csv", "x.csv"], "not both"),
        (["{folder}/s.off", "--csv", "x.csv"], "for a folder"),
        ([], "say what to look for"),
        (["--same-size"], "say what to look for"),
        (["--text", "!"], "no letter"),
    ],
)
def test_what_does_not_go_together(
    small_index: Path, folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(small_index), *(one.format(folder=folder) for one in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_names_and_several_files(
    small_index: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["search", str(small_index), "--text", "BOTT 3", "--html", str(page), "--device=cpu"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == ["1 shape", "   1  bottle  bottle/3.off"]
    assert "Shapes by name" in page.read_text() and "distance" not in page.read_text()
    assert main(["search", str(small_index), "--size", "1e9..", "--device=cpu"]) == 0
    assert "no shape passes the filters" in capsys.readouterr().out
    assert main(["search", str(small_index), "--text", "botle", "--device=cpu"]) == 0
    assert "did you mean 'bottle'?" in capsys.readouterr().out
    both = ["search", str(small_index), str(folder / "drawn.png"), str(folder / "deep" / "b.off"), "--json"]
    assert main([*both, "--device=cpu"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["query"] == "drawn.png, b.off" and "2 files" in answer["note"] and len(answer["hits"]) == 10
