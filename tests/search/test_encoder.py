"""One network, as a run, as a slim copy of it and exported: the same embeddings, the same fingerprint."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from batchot.cli import main
from batchot.data.sets.shape_folder import collection_of
from batchot.errors import RunError
from batchot.search.encoder import load_encoder
from batchot.search.prepare import prepare_bytes, prepare_source
from batchot.search.records import SearchError
from batchot.towers.saved import save_slim
from batchot.training.recipes import load_recipe
from saved_runs import save_run


@pytest.fixture(scope="module")
def exported(sketch_run: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with towers, exported; not to be changed."""
    pytest.importorskip("onnxscript", reason="needs the extra export")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    from batchot.export import export_run

    return export_run(sketch_run[0], tmp_path_factory.mktemp("exported") / "model").folder


@pytest.fixture(scope="module")
def samples(sketch_run: tuple[Path, Path]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names and views of the shapes, and drawings, as the run takes them."""
    run, folder = sketch_run
    inputs = load_encoder(run, "cpu").inputs
    collection = collection_of(folder)
    sources = [*collection.train, *collection.test]
    views = np.stack([prepare_source(source, inputs).sample for source in sources])
    files = sorted((folder.parent / "sketches").rglob("*.png"))
    drawings = [prepare_bytes(file.read_bytes(), file.name, inputs, "drawing").sample for file in files]
    return [source.name for source in sources], views, np.stack(drawings)


@pytest.mark.parametrize("tower", ["shape", "sketch"])
def test_a_run_embeds_as_the_command_embed_does(
    tower: str,
    sketch_run: tuple[Path, Path],
    samples: tuple[list[str], np.ndarray, np.ndarray],
    tmp_path: Path,
) -> None:
    run, folder = sketch_run
    path = folder if tower == "shape" else folder.parent / "sketches"
    out = tmp_path / "embeddings.npz"
    assert main(["embed", str(run), str(path), f"--tower={tower}", "--out", str(out), "--device=cpu"]) == 0
    saved = np.load(out)
    encoder = load_encoder(run, "cpu")
    names, views, drawings = samples
    if tower == "sketch":
        found = encoder.drawings(drawings)
    else:
        found = encoder.shapes(views)
        assert names == saved["names"].tolist()
    assert found.dtype == np.float32 and found.shape == (len(saved["names"]), encoder.dimensions)
    # Sums are rounded otherwise in a batch of another size, in the last bit.
    np.testing.assert_allclose(found, saved["embeddings"], rtol=0, atol=1e-6)


def test_all_forms_of_a_network_agree(
    sketch_run: tuple[Path, Path],
    exported: Path,
    samples: tuple[list[str], np.ndarray, np.ndarray],
    tmp_path: Path,
) -> None:
    run, _ = sketch_run
    save_slim(run, tmp_path / "slim")
    _, views, drawings = samples
    encoder, slim, onnx = (load_encoder(path, "cpu") for path in (run, tmp_path / "slim", exported))
    for other in (slim, onnx):
        assert other.fingerprint == encoder.fingerprint
        assert other.inputs.to_json() == encoder.inputs.to_json()
        assert (other.classes, other.dimensions) == (encoder.classes, encoder.dimensions)
        assert other.normalized and encoder.normalized
    np.testing.assert_array_equal(slim.shapes(views), encoder.shapes(views))
    np.testing.assert_array_equal(slim.drawings(drawings), encoder.drawings(drawings))
    np.testing.assert_allclose(onnx.shapes(views), encoder.shapes(views), atol=1e-5)
    np.testing.assert_allclose(onnx.drawings(drawings), encoder.drawings(drawings), atol=1e-5)
    many = np.concatenate([views] * 6)  # more than go through the network at once
    np.testing.assert_allclose(onnx.shapes(many), encoder.shapes(many), atol=1e-5)
    for made in (encoder, onnx):
        assert made.shapes(views[:0]).shape == (0, encoder.dimensions)


def test_a_slim_copy_is_slim(sketch_run: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = sketch_run
    save_slim(run, tmp_path / "slim")
    there = {file.relative_to(tmp_path / "slim").as_posix() for file in (tmp_path / "slim").rglob("*.*")}
    assert there == {"config.yaml", "metrics.json", "checkpoints/last.ckpt"}
    copy = tmp_path / "slim" / "checkpoints" / "last.ckpt"
    assert copy.stat().st_size < 0.7 * (run / "checkpoints" / "last.ckpt").stat().st_size
    with pytest.raises(RunError, match="is no run folder"):
        save_slim(tmp_path, tmp_path / "other")


def test_the_exported_encoder_needs_no_torch(exported: Path) -> None:
    code = (
        "import sys, pathlib, numpy\n"
        "from batchot.search.encoder import load_encoder\n"
        "encoder = load_encoder(pathlib.Path('.'))\n"
        "shape = encoder.inputs.shape.sample_shape\n"
        "print(encoder.shapes(numpy.zeros((2, *shape), numpy.uint8)).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "(2, 8) False\n"), done.stderr


def test_the_search_runs_on_an_export(
    sketch_run: tuple[Path, Path], exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = sketch_run
    index, query = tmp_path / "index", folder.parent / "sketches" / "bottle" / "test" / "4.png"
    command = ["index", "build", str(exported), str(folder), "--out", str(index), "--processes=1"]
    assert main(command) == 0
    capsys.readouterr()
    answers = []
    for model in ([], ["--model", str(run), "--device=cpu"]):
        assert main(["search", str(index), str(query), "-k", "5", "--json", *model]) == 0
        hits = json.loads(capsys.readouterr().out)["hits"]
        answers.append([(hit["name"], pytest.approx(hit["distance"], abs=1e-4)) for hit in hits])
    assert answers[0] == answers[1]


def test_damage(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    with (folder / "shape.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(
        SearchError, match=r"shape.onnx is not the file that was exported; export the run again"
    ):
        load_encoder(folder)
    (folder / "shape.onnx").unlink()
    with pytest.raises(SearchError, match=r"shape.onnx cannot be read \(No such file"):
        load_encoder(folder)
    about = json.loads((folder / "batchot.json").read_text())
    changes: list[tuple[dict[str, object], str]] = [
        ({"format": 99}, "another version of batchot"),
        ({"towers": {}}, "is damaged"),
        ({"towers": []}, "is damaged"),
        ({"inputs": {"shape": 3, "drawing": None}}, "is damaged"),
        ({"shape": None}, "was trained on images"),
        ({"towers": {"shape": {"onnx": None}}}, "was exported without ONNX"),
    ]
    for change, message in changes:
        (folder / "batchot.json").write_text(json.dumps(about | change))
        with pytest.raises(SearchError, match=message):
            load_encoder(folder)
    (folder / "batchot.json").write_text("{")
    with pytest.raises(SearchError, match="cannot be read"):
        load_encoder(folder)


def test_a_name_in_an_export_leads_nowhere_else(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "model")
    about = json.loads((folder / "batchot.json").read_text())
    about["towers"]["shape"]["onnx"] = "../../shape.onnx"
    (folder / "batchot.json").write_text(json.dumps(about))
    assert load_encoder(folder).dimensions == 8  # the file of that name in the folder is taken


def test_runs_that_cannot_be_searched_with(tmp_path: Path) -> None:
    overrides = [("model.widths", "[16,8]"), ("model.channels", "[4,8]")]
    run = save_run(tmp_path / "run", load_recipe("digits", overrides), (1, 8, 8))
    with pytest.raises(
        SearchError, match=r"was trained on images \(digits\); an index of shapes needs a run on"
    ):
        load_encoder(run, "cpu")
    clouds = [("model.name", "pointnet"), ("model.widths", "[16,8]"), ("shapes.points", "32")]
    run = save_run(tmp_path / "clouds", load_recipe("shape-folder-scratch", clouds), (32, 3))
    encoder = load_encoder(run, "cpu")
    assert encoder.shapes(np.zeros((2, 32, 3), np.float32)).shape == (2, 8)
    with pytest.raises(SearchError, match="takes no drawings; train a run with sketches"):
        encoder.drawings(np.zeros((1, 1, 8, 8), np.uint8))
    with pytest.raises(RunError, match="is no run folder"):
        load_encoder(tmp_path, "cpu")
