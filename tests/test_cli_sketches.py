"""The commands for sketches, as a user calls them: pictures and meshes of the built-in library, drawn by the tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batchot import load_run
from batchot.cli import main
from data.shrec_formats import shrec13, shrec14, write_zipped
from search_support import TINY_RUN, draw_sketch
from shape_folders import write_off


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bottles and stairs are drawn and modelled, airplanes only modelled, vases only drawn."""
    root = tmp_path_factory.mktemp("cli sketches") / "моё собрание"
    for class_name in ("bottle", "stairs", "vase"):
        for k in range(6):
            part = "train" if k < 4 else "test"
            draw_sketch(root / "sketches" / class_name / part / f"{k}.png", class_name, 100 + k)
    for class_name in ("bottle", "stairs", "airplane"):
        for k in range(5):
            write_off(root / "shapes" / class_name / f"{k}.off", class_name, k)
    (root / "sketches" / "bottle" / "train" / "empty.png").write_bytes(b"")
    Image.new("L", (30, 30), 255).save(root / "sketches" / "stairs" / "train" / "blank.png")
    return root


def training(folder: Path, out: Path) -> list[str]:
    """The command that trains a small run on the sketches and shapes of a folder."""
    where = ["--data-root", str(folder), "--out", str(out), "--device=cpu"]
    return ["train", "sketch-folder-scratch", *where, *TINY_RUN]


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli run") / "run"
    assert main(training(folder, out)) == 0
    return out


def test_a_run_and_its_evaluation(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads((run / "metrics.json").read_text())["epoch"] == 1
    assert main(["evaluate", str(run), "--device=cpu"]) == 0
    said = capsys.readouterr().out
    assert "6 queries, 15 in the gallery" in said
    assert "queries without a target" in said and "2, left out" in said  # the vases
    assert "class stairs" in said and "class vase" not in said


def test_what_is_left_out_is_said_first(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "sketch-folder-scratch", "--data-root", str(folder), "--out", str(tmp_path / "run")]
    assert main([*command, *TINY_RUN, "together.negatives=2", "--device=cpu"]) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert "empty.png" in text and "blank.png" in text
    assert "1 classes of sketch alone, left out of the loss and still asked as queries: vase" in text
    assert "1 classes of shape alone, only negatives and kept in the gallery: airplane" in text


def test_report_again(run: Path) -> None:
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "airplane" in page and "data:image/png;base64" in page


def test_drawings_and_shapes_are_embedded_by_their_towers(run: Path, folder: Path, tmp_path: Path) -> None:
    drawn, shapes = tmp_path / "drawn.npz", tmp_path / "shapes.npz"
    sketches = folder / "sketches" / "stairs" / "test"
    assert main(["embed", str(run), str(sketches), "--tower", "sketch", "--out", str(drawn)]) == 0
    assert main(["embed", str(run), str(folder / "shapes"), "--out", str(shapes)]) == 0
    with np.load(drawn) as a, np.load(shapes) as b:
        assert a["names"].tolist() == ["4.png", "5.png"]
        assert (a["embeddings"].shape, b["embeddings"].shape) == ((2, 8), (15, 8))
        assert np.allclose(np.linalg.norm(a["embeddings"], axis=1), 1, atol=1e-5)
    assert main(["embed", str(run), str(folder / "sketches"), "--tower", "sketch", "--out", str(drawn)]) == 1
    assert main(["embed", str(run), str(sketches), "--tower", "photo", "--out", str(drawn)]) == 1


def test_training_on_drawings_of_the_shapes_themselves(folder: Path, tmp_path: Path) -> None:
    out, both = tmp_path / "run", tmp_path / "both"
    assert main([*training(folder, out), "sketch.data.train_on=lines", "together.batches=2"]) == 0
    assert load_run(out).classes == ("airplane", "bottle", "stairs", "vase")
    renamed = ["together.rename.sketch.vase=jar", "together.rename.shape.airplane=plane"]
    assert main([*training(folder, both), "sketch.data.train_on=both", "together.batches=2", *renamed]) == 0
    assert load_run(both).classes == ("bottle", "jar", "plane", "stairs")


def test_shapes_alone_are_enough(folder: Path, tmp_path: Path) -> None:
    lines = ["sketch.data.name=line-drawings", "together.batches=2"]
    assert main([*training(folder, tmp_path / "run"), *lines]) == 0


def test_point_clouds_ask_for_views(folder: Path, tmp_path: Path) -> None:
    """Other towers need a recipe and nothing else."""
    recipe = tmp_path / "clouds.yaml"
    recipe.write_text(
        """
name: clouds
epochs: 1
towers:
  cloud:
    data: {name: shape-folder, folder: shapes}
    shapes: {points: 64}
    model: {name: pointnet, widths: [16, 8]}
  shape:
    data: {name: shape-folder, folder: shapes}
    shapes: {cameras: box-6, size: 32}
    model: {name: mvcnn, backbone: resnet10-w4-s4, widths: [16, 8]}
together: {gallery: test}
batch: {size: 6}
"""
    )
    out = tmp_path / "run"
    command = ["train", str(recipe), "--data-root", str(folder), "--out", str(out), "--device=cpu"]
    assert main(command) == 0
    assert json.loads((out / "metrics.json").read_text())["accuracy_by"] == "knn"


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", "sketch-folder-scratch", "--data-root", str(tmp_path), *out]) == 2
    assert f"there is no {tmp_path / 'shapes'}" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["shrec13-scratch", "shrec14"])
def test_shrec_as_it_is_published(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_zipped(tmp_path, shrec14() if recipe == "shrec14" else shrec13())
    out = tmp_path / "run"
    command = ["train", recipe, "--data-root", str(tmp_path), "--out", str(out), "--device=cpu"]
    assert main([*command, *TINY_RUN]) == 0
    assert "training on 6 sketch of 1 x 32 x 32, 6 shape of 6 x 2 x 32 x 32" in capsys.readouterr().out
    assert main(["evaluate", str(out), "--device=cpu"]) == 0
    assert "3 queries, 6 in the gallery" in capsys.readouterr().out
