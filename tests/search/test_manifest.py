from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchot.cli import main
from batchot.search.manifest import Manifest, Root
from batchot.search.searcher import Searcher


def manifest(*roots: Root) -> Manifest:
    return Manifest("", "", 8, True, {}, roots=roots)


def test_the_axis_of_all_folders_is_that_of_queries() -> None:
    assert manifest().up == "auto"
    assert manifest(Root("/a", "", "y"), Root("/b", "b/", "y")).up == "y"
    differing = manifest(Root("/a", "", "y"), Root("/a/b", "b/", "z"), Root("/c", "c/"))
    assert differing.up == "auto"
    assert [differing.up_of(Path(f"/{name}/1.off")) for name in ("a", "a/b", "c", "d")] == [
        "y",
        "z",
        "auto",
        "auto",
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
    assert "are in the index with --up y" in capsys.readouterr().err
    assert main(["search", str(index), str(file), "--up", "z", "-k", "1", "--json", "--device=cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"]
