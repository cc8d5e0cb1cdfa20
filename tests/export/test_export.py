"""Networks of every kind, exported and read again without what trained them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from batchot.export import ExportError, export_run, load_exported
from batchot.training import load_run
from batchot.training.recipes import load_recipe
from saved_runs import CLASSES, save_run

pytest.importorskip("onnxscript", reason="needs the extra export")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")

SMALL = [("model.widths", "[16,8]"), ("shapes.size", "32"), ("model.backbone", "resnet10-w4-s4")]
VIEWS = [*SMALL, ("shapes.cameras", "box-6"), ("evaluation.flip", "true")]
SPLATTED = [*VIEWS, ("shapes.views", "splatted"), ("shapes.points", "100")]
CLOUD = [("model.widths", "[16,8]"), ("shapes.points", "64"), ("evaluation.flip", "true")]
KINDS: dict[str, tuple[str, list[tuple[str, str]], tuple[int, ...]]] = {
    "splatted": ("shape-folder-scratch", [*SPLATTED, ("model.pooling", "concat")], (6, 1, 32, 32)),
    "dgcnn": ("shape-folder-scratch", [*CLOUD, ("model.name", "dgcnn")], (64, 3)),
    "lenet": ("digits", [("model.widths", "[16,8]"), ("model.channels", "[4,8]")], (1, 8, 8)),
}
TOWERS = """
name: towers
towers:
  sketch:
    data: {name: sketches, image_size: 32}
    model: {name: cnn, backbone: resnet10-w4-s4, widths: [16, 8], batch_norm: true}
  shape:
    data: {name: shape-folder}
    shapes: {size: 32, cameras: box-6, channels: [lines]}
    model: {name: mvcnn, backbone: resnet10-w4-s4, widths: [16, 8], batch_norm: true,
            pooling: attention}
together: {share: all, norm: separate}
loss: {name: batch-ot, cross_entropy_weight: 0.2, head: cosine}
evaluation: {flip: true}
"""


def samples_for(shape: tuple[int, ...], n: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    if len(shape) == 2:
        points = torch.randn(n, *shape, generator=generator)
        return points / points.norm(dim=2, keepdim=True)
    contrast = torch.linspace(32, 256, n).view(n, *[1] * len(shape))
    return (torch.rand(n, *shape, generator=generator) * contrast).to(torch.uint8)


def by_onnx(file: Path, samples: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [session.run(["embedding"], {name: part.numpy()})[0] for part in (samples[:1], samples[1:])]
    return np.concatenate(parts)


@pytest.mark.parametrize("kind", list(KINDS))
def test_embeddings_are_those_of_the_run(kind: str, tmp_path: Path) -> None:
    name, overrides, shape = KINDS[kind]
    normalized = kind != "lenet"
    run = save_run(tmp_path / "run", load_recipe(name, overrides), shape, normalized=normalized)
    out = tmp_path / "new" / "exported"
    done = export_run(run, out)
    assert done.differences["model"] < 1e-5
    about = json.loads((out / "batchot.json").read_text())
    samples = samples_for(tuple(about["towers"]["model"]["shape"]))
    with torch.no_grad():
        outputs = load_run(run).outputs(samples)
    wanted = outputs.embeddings.numpy()
    assert np.abs(wanted - wanted[0]).max() > 0.01  # else anything would do
    np.testing.assert_allclose(by_onnx(out / "model.onnx", samples), wanted, atol=1e-5, rtol=1e-5)
    network = load_exported(out)
    np.testing.assert_array_equal(network.embed(samples).numpy(), wanted)
    assert network.classes == tuple(CLASSES)
    if outputs.logits is not None:
        logits = network.outputs(samples).logits
        torch.testing.assert_close(logits, outputs.logits, atol=1e-5, rtol=0)
    assert (np.abs(np.linalg.norm(wanted, axis=1) - 1) < 1e-5).all() == normalized
    assert not list(out.parent.glob(".*")), "something was left behind"


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with towers that share weights, and its export."""
    folder = tmp_path_factory.mktemp("towers")
    (folder / "towers.yaml").write_text(TOWERS)
    recipe = load_recipe(str(folder / "towers.yaml"))
    run = save_run(folder / "run", recipe, (1, 32, 32), (6, 1, 32, 32))
    return run, export_run(run, folder / "exported").folder


def test_towers_that_share_weights(towers: tuple[Path, Path]) -> None:
    run, out = towers
    embedder, network = load_run(run), load_exported(out)
    for name, shape in (("sketch", (1, 32, 32)), ("shape", (6, 1, 32, 32))):
        samples = samples_for(shape)
        with torch.no_grad():
            outputs = embedder.outputs(samples, name)
        np.testing.assert_allclose(
            by_onnx(out / f"{name}.onnx", samples), outputs.embeddings.numpy(), atol=1e-5
        )
        assert torch.equal(network.embed(samples, name), outputs.embeddings)
        assert outputs.logits is not None
        torch.testing.assert_close(network.outputs(samples, name).logits, outputs.logits, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="no tower None; there are sketch, shape"):
        network.embed(samples)


def test_a_backbone_of_transformers_needs_neither_its_folder_nor_a_hub(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra shapes")
    source = tmp_path / "convnext"
    transformers.ConvNextConfig(hidden_sizes=[4, 8, 8, 16], depths=[1, 1, 1, 1]).save_pretrained(source)
    overrides = [*VIEWS, ("shapes.channels", "[shaded,depth]"), ("model.backbone", str(source))]
    run = save_run(tmp_path / "run", load_recipe("shape-folder-scratch", overrides), (6, 2, 32, 32))
    samples = samples_for((6, 2, 32, 32))
    with torch.no_grad():
        wanted = load_run(run)(samples).numpy()
    out = export_run(run, tmp_path / "exported").folder
    shutil.rmtree(source)
    np.testing.assert_allclose(by_onnx(out / "model.onnx", samples), wanted, atol=1e-5)
    np.testing.assert_allclose(load_exported(out).embed(samples).numpy(), wanted, atol=1e-6)
    for file in ("architecture.json", "batchot.json", "README.md"):
        assert str(tmp_path) not in (out / file).read_text(), f"{file} names a folder of this machine"


ALONE = """
import sys
import numpy, {module}
{code}
loaded = [name for name in sys.modules if name.split(".")[0] in {others!r} or name.startswith("batchot.training")]
print(loaded)
"""


def test_the_files_are_read_without_what_trained_the_network(towers: tuple[Path, Path]) -> None:
    run, out = towers
    samples = samples_for((6, 1, 32, 32))
    np.save(out.parent / "samples.npy", samples.numpy())
    with torch.no_grad():
        wanted = load_run(run)("shape", samples).numpy()
    runtime = (
        "s = onnxruntime.InferenceSession('exported/shape.onnx')\n"
        "numpy.save('found.npy', s.run(['embedding'], {'views': numpy.load('samples.npy')})[0])"
    )
    weights = (
        "import torch\nfrom batchot.export import load_exported\n"
        "x = load_exported('exported').embed(torch.from_numpy(numpy.load('samples.npy')), 'shape')\n"
        "numpy.save('found.npy', x.numpy())"
    )
    for module, code, others in (
        ("onnxruntime", runtime, ["torch", "batchot"]),
        ("safetensors", weights, ["lightning", "onnxruntime", "numba"]),
    ):
        text = ALONE.format(module=module, code=code, others=others)
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=out.parent, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
        np.testing.assert_allclose(np.load(out.parent / "found.npy"), wanted, atol=1e-4)


def test_the_files_tell_what_they_are(towers: tuple[Path, Path]) -> None:
    onnx = pytest.importorskip("onnx")
    safetensors = pytest.importorskip("safetensors")
    _, out = towers
    about = json.loads((out / "batchot.json").read_text())
    model = onnx.load(out / "sketch.onnx")
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["batchot.fingerprint"] == about["fingerprint"]
    assert json.loads(said["batchot.classes"]) == about["classes"] == CLASSES
    assert json.loads(said["batchot.inputs"]) == about["inputs"]
    assert model.graph.input[0].name == said["batchot.takes"] == "image"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param, "the number of samples is fixed"
    with safetensors.safe_open(out / "model.safetensors", "np") as file:
        assert file.metadata()["batchot.fingerprint"] == about["fingerprint"]
    assert (about["shape"], about["drawing"]) == ("shape", "sketch")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on images, and its export."""
    name, overrides, shape = KINDS["lenet"]
    folder = tmp_path_factory.mktemp("digits")
    run = save_run(folder / "run", load_recipe(name, overrides), shape)
    return run, export_run(run, folder / "exported").folder


def test_nothing_that_is_there_is_overwritten(digits: tuple[Path, Path], tmp_path: Path) -> None:
    run, exported = digits
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("ten years")
    for force in (False, True):
        with pytest.raises(ExportError, match="is there already and is no export; give another --out"):
            export_run(run, out, force=force)
    assert (out / "thesis.txt").read_text() == "ten years"
    older = shutil.copytree(exported, tmp_path / "older")
    with pytest.raises(ExportError, match="holds an export already; add --force"):
        export_run(run, older, formats=["safetensors"])
    assert (older / "model.onnx").is_file()
    done = export_run(run, older, formats=["safetensors"], force=True)
    assert set(done.files) == {"README.md", "architecture.json", "batchot.json", "model.safetensors"}
    assert {file.name for file in tmp_path.iterdir()} == {"mine", "older"}


def test_a_failure_leaves_what_was_there(
    digits: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, exported = digits
    older = shutil.copytree(exported, tmp_path / "older")
    before = (older / "batchot.json").read_bytes()
    monkeypatch.setattr("batchot.export.TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"model.onnx: onnxruntime gives embeddings that differ by"):
        export_run(run, older, force=True)
    assert (older / "batchot.json").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["older"]


def test_no_format(digits: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no format is left"):
        export_run(digits[0], tmp_path / "out", formats=[])
