"""The commands index and search, as a user calls them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batchot.cli import main
from batchot.search.records import Filters, SearchError
from batchot.search.searcher import Query, Searcher
from batchot.search.store import ShapeStore
from search_support import draw_sketch
from shape_folders import write_off


@pytest.fixture
def index(small_index: Path, tmp_path: Path) -> Path:
    """A copy that may be changed; it lies elsewhere than where it was built."""
    return Path(shutil.copytree(small_index, tmp_path / "moved index"))


def test_info(small_index: Path, sketch_run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "info", str(small_index)]) == 0
    said = capsys.readouterr().out
    assert "15 shapes, 3 classes, 8 dimensions" in said and "takes shapes and drawings" in said
    assert "search is exact" in said and "airplane 5" in said
    assert main(["index", "info", str(small_index), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["shapes"] == 15 and about["complete"] and about["roots"] == [str(sketch_run[1])]
    assert main(["index", "verify", str(small_index)]) == 0


def test_the_vectors_are_those_of_embed(
    small_index: Path, sketch_run: tuple[Path, Path], tmp_path: Path
) -> None:
    run, shapes = sketch_run
    assert main(["embed", str(run), str(shapes), "--out", str(tmp_path / "e.npz"), "--device=cpu"]) == 0
    with np.load(tmp_path / "e.npz") as file:
        expected = {
            name.replace("\\", "/"): v for name, v in zip(file["names"], file["embeddings"], strict=True)
        }
    with ShapeStore.open(str(small_index / "shapes")) as store:
        ids, _, vectors = store.vectors()
        names = store.names()
    assert len(ids) == len(expected) == 15
    for id, vector in zip(ids, vectors, strict=True):
        np.testing.assert_allclose(vector, expected[names[id].removesuffix(".off")], atol=2e-6)


def test_a_shape_finds_itself(
    index: Path, sketch_run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    query = sketch_run[1] / "stairs" / "3.off"
    assert main(["search", str(index), str(query), "-k", "4", "--json", "--device=cpu"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["hits"][0]["name"] == "stairs/3.off" and answer["hits"][0]["distance"] < 1e-3
    assert len(answer["hits"]) == 4 and answer["taken_as"] == "shape" and answer["total"] == 15
    distances = [hit["distance"] for hit in answer["hits"]]
    assert distances == sorted(distances)


def test_a_drawing_with_filters_and_a_page(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = draw_sketch(tmp_path / "drawn.png", "bottle", 3)
    page = tmp_path / "page.html"
    command = ["search", str(index), str(query), "--class", "stairs", "--html", str(page), "--device=cpu"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("stairs/" in line for line in lines) == 5 and not any("bottle/" in line for line in lines)
    text = page.read_text()
    assert text.count("<li>") == 5 and "http" not in text.replace("http-equiv", "")
    assert main(["search", str(index), str(query), "--folder", "airplane", "--device=cpu"]) == 0
    assert "airplane/0.off" in capsys.readouterr().out


def test_what_cannot_be_asked(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = draw_sketch(tmp_path / "drawn.png", "bottle", 3)
    assert main(["search", str(index), str(tmp_path / "none.off")]) == 2
    assert "is no file" in capsys.readouterr().err
    assert main(["search", str(index), str(query), "--class", "bottel"]) == 2
    assert "did you mean 'bottle'?" in capsys.readouterr().err
    Image.new("L", (30, 30), 255).save(tmp_path / "blank.png")
    assert main(["search", str(index), str(tmp_path / "blank.png"), "--device=cpu"]) == 1
    assert "blank" in capsys.readouterr().err
    assert main(["search", str(tmp_path), str(query)]) == 1
    assert "is no index" in capsys.readouterr().err
    assert main(["search", str(index), str(query), "-k", "0"]) == 2


def test_only_what_changed_is_embedded_again(
    sketch_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = sketch_run
    shapes, out = tmp_path / "shapes", tmp_path / "index"
    for k in range(3):
        write_off(shapes / "cup" / f"{k}.off", "bottle", k)
    (shapes / "cup" / "bad.off").write_bytes(b"OFF\nbroken")
    build = ["index", "build", str(run), str(shapes), "--out", str(out), "--device=cpu", "--processes=1"]
    assert main(build) == 1
    said = capsys.readouterr().out
    assert (
        "3 shapes added, 0 changed, 0 as they were" in said
        and "1 could not be read" in said
        and "bad.off" in said
    )
    write_off(shapes / "cup" / "1.off", "bottle", 77)
    (shapes / "cup" / "2.off").unlink()
    (shapes / "cup" / "bad.off").unlink()
    write_off(shapes / "cup" / "3.off", "bottle", 3)
    assert main(build) == 0
    said = capsys.readouterr().out
    assert (
        "1 shapes added, 1 changed, 1 as they were" in said
        and "1 shapes are in the index whose files are gone" in said
    )
    assert main([*build, "--prune"]) == 0
    assert "0 shapes added, 0 changed, 3 as they were, 1 removed" in capsys.readouterr().out
    assert main(build) == 0
    assert "0 shapes added, 0 changed, 3 as they were" in capsys.readouterr().out


def test_add_and_remove(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_off(tmp_path / "new" / "jug" / "1.off", "bottle", 50)
    write_off(tmp_path / "one.off", "stairs", 51)
    (tmp_path / "second" / "new" / "jug").mkdir(parents=True)
    write_off(tmp_path / "second" / "new" / "jug" / "1.off", "bottle", 52)
    add = ["index", "add", str(index), "--device=cpu", "--processes=1"]
    assert main([*add, str(tmp_path / "new")]) == 0
    assert main([*add, str(tmp_path / "one.off"), "--class", "steps"]) == 0
    assert main([*add, str(tmp_path / "second" / "new")]) == 0  # another folder of the same name
    with ShapeStore.open(str(index / "shapes")) as store:
        names = set(store.names().values())
        assert store.classes()["steps"] == 1 and store.classes()["jug"] == 2
    assert len(names) == 18 and {"new/jug/1.off", "new-2/jug/1.off"} < names
    remove = ["index", "remove", str(index)]
    assert main([*remove, "new/*"]) == 0
    assert main([*remove, "--class", "steps", "--folder", "new-2"]) == 0
    assert "2 shapes removed" in capsys.readouterr().out
    assert main([*remove, "bottle/9.off"]) == 1
    assert "did you mean bottle/" in capsys.readouterr().err
    assert main(remove) == 2
    with ShapeStore.open(str(index / "shapes")) as store:
        assert len(store) == 15
    assert main(["index", "verify", str(index)]) == 0


def test_an_index_of_another_network_is_not_touched(
    index: Path, sketch_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, shapes = sketch_run
    other = Path(shutil.copytree(run, tmp_path / "other"))
    import torch

    checkpoint = torch.load(other / "checkpoints" / "last.ckpt", weights_only=True)
    name = next(
        k for k, v in checkpoint["state_dict"].items() if k.startswith("network.") and v.is_floating_point()
    )
    checkpoint["state_dict"][name] += 1.0
    torch.save(checkpoint, other / "checkpoints" / "last.ckpt")
    assert main(["index", "build", str(other), str(shapes), "--out", str(index), "--device=cpu"]) == 1
    assert "embeddings of another network" in capsys.readouterr().err
    with pytest.raises(SearchError, match="not the network"):
        Searcher.open(index, model=other, device="cpu")
    assert main(["index", "verify", str(index)]) == 0


def test_folders_that_are_no_place_for_an_index(
    sketch_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, shapes = sketch_run
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    assert main(["index", "build", str(run), str(shapes), "--out", str(tmp_path / "full")]) == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir() if not path.name.startswith(".")] == [
        "letter.txt"
    ]
    assert main(["index", "build", str(tmp_path), str(shapes), "--out", str(tmp_path / "new")]) == 1
    assert "no run folder" in capsys.readouterr().err
    assert main(["index", "build", str(run), str(tmp_path / "nothing"), "--out", str(tmp_path / "new")]) == 1


@pytest.mark.parametrize("part", ["index.json", "model/checkpoints/last.ckpt", "map.npz", "calibration.npz"])
def test_damage_is_told(index: Path, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = index / part
    if not file.is_file():
        pytest.skip("this index has no such file")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert main(["index", "verify", str(index)]) == 1
    told = "".join(capsys.readouterr())
    assert file.name in told and len(told.splitlines()) <= 4


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_killed_while_building_it_goes_on(sketch_run: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = sketch_run
    shapes, out = tmp_path / "shapes", tmp_path / "index"
    for k in range(30):
        write_off(shapes / "cup" / f"{k}.off", "bottle", k)
    code = (
        "import batchot.search.indexing as i; i.STORE_BATCH = i.CHUNK = 4\n"
        "import sys; from batchot.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    build = ["index", "build", str(run), str(shapes), "--out", str(out), "--device=cpu", "--processes=1"]
    process = subprocess.Popen([sys.executable, "-c", code, *build], env=os.environ)
    deadline = time.monotonic() + 60
    seen = 0
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "index.json").is_file():
            try:
                with ShapeStore.open(str(out / "shapes")) as store:
                    seen = len(store)
            except SearchError:
                seen = 0
            if seen >= 4:
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert seen >= 4
    with ShapeStore.open(str(out / "shapes")) as store:
        stored = len(store)
        assert seen <= stored < 30
    assert main(["index", "verify", str(out)]) == 1  # it says that it is not finished
    assert main(build) == 0
    with ShapeStore.open(str(out / "shapes")) as store:
        assert len(store) == 30
    assert main(["index", "verify", str(out)]) == 0


def test_searching_from_python(small_index: Path) -> None:
    with Searcher.open(small_index, device="cpu") as searcher:
        first = searcher.search_query(
            Query(searcher.store.vector(searcher.store.ids(Filters())[0]), "shape"), k=3
        )
        later = searcher.search_query(Query(searcher.store.vector(first.hits[0].id), "shape"), k=2, offset=1)
        assert later.hits == first.hits[1:3]
        similar = searcher.similar(first.hits[0].id, k=20)
        assert len(similar.hits) == 14 and first.hits[0].id not in {hit.id for hit in similar.hits}
        points = searcher.map_points()
        assert len(points.ids) == 15 and np.abs(points.xy).max() <= 1
        original = searcher.original(first.hits[0].id)
        assert original is not None and original.read_bytes().startswith(b"OFF")
        with pytest.raises(ValueError, match="k must lie"):
            searcher.similar(first.hits[0].id, k=0)
