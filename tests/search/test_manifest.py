from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from batchot.cli import main
from batchot.search.build import remove_from_index
from batchot.search.manifest import Manifest, Root
from batchot.search.records import Filters, SearchError
from batchot.search.searcher import Searcher
from oracles import cad_files


def manifest(*roots: Root) -> Manifest:
    return Manifest("", "", 8, True, {}, roots=roots)


def test_the_axis_of_all_folders_is_that_of_queries() -> None:
    assert manifest().up == "auto"
    assert manifest(Root("/a", "", "y"), Root("/b", "b/", "y")).up == "y"
    differing = manifest(Root("/a", "", "y", False, 0.01), Root("/a/b", "b/", "z"), Root("/c", "c/"))
    assert differing.up == "auto"
    assert [differing.how_of(Path(f"/{name}/1.off")) for name in ("a", "a/b", "c", "d")] == [
        ("y", 0.01),
        ("z", None),
        ("auto", None),
        ("auto", None),
    ]


def own_distances(index: Path, shapes: Path, up: str = "auto") -> list[float]:
    """How far each shape is from itself, asked for by its content and by its path."""
    found = []
    with Searcher.open(index, device="cpu") as searcher:
        for path in (shapes / "stairs" / "1.off", shapes / "bottle" / "0.off"):
            name = path.relative_to(shapes).as_posix()
            answers = (
                searcher.search_bytes(path.read_bytes(), path.name, up=up, k=15),  # type: ignore[arg-type]
                searcher.search_file(path, up=up, k=15),  # type: ignore[arg-type]
            )
            found += [hit.distance for answer in answers for hit in answer.hits if hit.name == name]
    return found


def test_an_index_finds_its_own_files_whatever_their_axis(
    sketch_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, shapes = sketch_run
    index = tmp_path / "index"
    build = ["index", "build", str(run), str(shapes), "--out", str(index), "--device=cpu", "--processes=1"]
    assert main([*build, "--up", "y"]) == 0
    assert max(own_distances(index, shapes)) < 1e-3
    assert min(own_distances(index, shapes, "z")) > 1e-3
    assert main(build) == 0  # the folder keeps its axis
    assert Manifest.read(index / "index.json").up == "y"
    # With another axis its shapes are embedded again, though their contents are the same.
    assert main([*build, "--up", "z"]) == 0
    assert Manifest.read(index / "index.json").roots == (Root(str(shapes), "", "z"),)
    assert max(own_distances(index, shapes)) < 1e-3
    # A file of a folder stands as the folder does.
    file = next((shapes / "stairs").glob("*.off"))
    capsys.readouterr()
    stairs = [
        "index",
        "add",
        str(index),
        str(shapes / "stairs"),
        "--device=cpu",
        "--processes=1",
        "--up",
        "y",
    ]
    assert main(stairs) == 0
    assert main(["index", "add", str(index), str(file), "--device=cpu", "--up", "z"]) == 1
    assert "are in the index with other --up" in capsys.readouterr().err
    assert main(["search", str(index), str(file), "--up", "z", "-k", "1", "--json", "--device=cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"]


def test_parts_and_tolerance_are_those_of_the_folder_until_others_are_given(
    sketch_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cascadio")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "two.step").write_bytes(cad_files.step([(0, 0, 0), (9, 0, 0)]))
    (tmp_path / "parts" / "ball.step").write_bytes(cad_files.ball(5))
    build = ["index", "build", str(sketch_run[0]), str(tmp_path / "parts"), "--out", str(tmp_path / "index")]

    def built(*options: str) -> dict[str, tuple[int, float]]:
        """What is in the index then: faces and length of each shape."""
        assert main([*build, "--device=cpu", "--processes=1", *options]) == 0
        with Searcher.open(tmp_path / "index", device="cpu") as searcher:
            found = searcher.search_file(tmp_path / "parts" / "ball.step", k=9).hits
            assert found[0].name == "ball.step" and found[0].distance < 1e-5
            return {hit.name: (hit.faces, hit.size[0]) for hit in found}

    one = built()
    assert set(one) == {"two.step", "ball.step"} and one["two.step"][1] == pytest.approx(10)
    each = built("--parts", "--tolerance", "3e-4")
    assert set(each) == {"two.step#0", "two.step#1", "ball.step"}
    assert each["two.step#0"] == (12, pytest.approx(1)) and each["ball.step"][0] > 1.5 * one["ball.step"][0]
    assert built() == each and "3 as they were" in capsys.readouterr().out
    assert built("--no-parts")["two.step"] == one["two.step"]
    assert main([*build, "--tolerance", "0"]) == 2 and "--tolerance" in capsys.readouterr().err


def test_an_index_of_a_newer_format_is_searched_and_not_changed(small_index: Path, tmp_path: Path) -> None:
    index = shutil.copytree(small_index, tmp_path / "index")
    newer = {**json.loads((index / "index.json").read_text()), "format": 2, "of_tomorrow": 1}
    (index / "index.json").write_text(json.dumps(newer))
    with Searcher.open(index) as searcher:
        names = [hit.name for hit in searcher.search_names(Filters(), k=2).hits]
    with pytest.raises(SearchError, match=r"format 2, of a newer batchot.*update it"):
        remove_from_index(index, names[:1])  # its fields may mean something else
    with pytest.raises(SearchError, match="of a newer batchot"):
        Manifest.read(index / "index.json").write(index / "index.json")
    assert json.loads((index / "index.json").read_text()) == newer
    with Searcher.open(index) as searcher:
        assert searcher.about.count == len(searcher.store) > 1 and names
