from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from batchot.cli import main
from batchot.search.manifest import Manifest, Root
from batchot.search.searcher import Searcher
from batchot.shapes import load_shape


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


@pytest.mark.parametrize("up", ["y", "z"])
def test_an_index_finds_its_own_files_whatever_their_axis(
    sketch_run: tuple[Path, Path], tmp_path: Path, up: str
) -> None:
    run, shapes = sketch_run
    index = tmp_path / "index"
    build = ["index", "build", str(run), str(shapes), "--out", str(index), "--device=cpu", "--processes=1"]
    assert main([*build, "--up", up]) == 0
    assert max(own_distances(index, shapes)) < 1e-3
    other = "z" if up == "y" else "y"
    assert min(own_distances(index, shapes, other)) > 1e-3
    assert main(["search", str(index), str(shapes / "stairs" / "1.off"), "--up", other, "--device=cpu"]) == 0
    assert main(build) == 0  # the folder keeps its axis
    assert Manifest.read(index / "index.json").up == up
    if up == "z":
        return
    # With another axis its shapes are embedded again, though their contents are the same.
    assert main([*build, "--up", other]) == 0
    assert Manifest.read(index / "index.json").roots == (Root(str(shapes), "", "z"),)
    assert max(own_distances(index, shapes)) < 1e-3
    # A file among them cannot stand otherwise.
    shutil.copy(shapes / "stairs" / "1.off", tmp_path / "copy.off")
    assert main(["index", "add", str(index), str(shapes / "stairs" / "1.off"), "--device=cpu"]) == 0
    turned = load_shape(shapes / "stairs" / "1.off", up="y")
    assert not np.allclose(turned.vertices, load_shape(shapes / "stairs" / "1.off").vertices)  # type: ignore[union-attr]
