"""Runs that begin from ImageNet weights: the head on kept features, then the whole network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from batchot.errors import RunError
from batchot.export import export_run
from batchot.towers.saved import load_exported, load_run
from batchot.towers.tower import backbone_of
from batchot.training.data import load_splits
from batchot.training.evaluate import evaluate
from batchot.training.optimisers import lr_factors, make_optimiser
from batchot.training.recipe import OptimSettings, RecipeError
from batchot.training.recipes import head_recipe, load_recipe
from batchot.training.run import TrainedRun, train
from saved_runs import make_untrained
from shape_folders import write_folder

SMALL = [
    ("epochs", "2"),
    ("precision", "32"),
    ("batch.size", "6"),
    ("batch.classes_per_batch", "3"),
    ("model.widths", "[16,8]"),
    ("model.backbone", "efficientnet-lite0"),
    ("model.pretrained", "package"),
    ("shapes.size", "32"),
    ("shapes.cameras", "box-6"),
    ("shapes.channels", "[shaded,depth]"),
    ("model.channels_apart", "true"),
    ("model.pooling", "max-mean"),
    ("evaluation.flip", "true"),
    ("augment.shift", "1"),
]
HEAD = [*SMALL, ("model.train", "head"), ("model.kept_variants", "1")]
WHOLE = [
    *SMALL,
    ("model.train", "head-then-all"),
    ("first.epochs", "3"),
    ("first.optim.lr", "0.01"),
    ("epochs", "1"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def head(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    recipe = load_recipe("shape-folder-scratch", HEAD)
    return train(recipe, tmp_path_factory.mktemp("head") / "run", data_root=folder, device="cpu")


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    recipe = load_recipe("shape-folder-scratch", WHOLE)
    return train(recipe, tmp_path_factory.mktemp("whole") / "run", data_root=folder, device="cpu")


def weights_of(run: TrainedRun) -> dict[str, torch.Tensor]:
    return backbone_of(load_run(run.folder.root).tower().embedder.backbone).state_dict()


def test_the_backbone_stays_what_the_package_brought_and_the_head_does_not(head: TrainedRun) -> None:
    from batchot.models import make_backbone

    package = make_backbone("efficientnet-lite0", in_channels=1, pretrained="package").state_dict()
    assert all(torch.equal(value, package[name]) for name, value in weights_of(head).items())
    losses = [row.loss for row in head.rows]
    assert losses[-1] < losses[0]


def test_loaded_it_takes_samples_and_gives_the_embeddings_of_the_evaluation(
    head: TrainedRun, folder: Path
) -> None:
    splits = load_splits(head.recipe, folder)
    embeddings = load_run(head.folder.root)(splits.test.batch(torch.arange(len(splits.test))))
    torch.testing.assert_close(
        embeddings, head.queries.embeddings, atol=5e-3, rtol=0
    )  # features are kept as float16


def test_it_is_evaluated_on_kept_features(head: TrainedRun, folder: Path) -> None:
    lines = dict(evaluate(head.folder.root, data_root=folder, device="cpu"))
    measured = json.loads(head.folder.metrics.read_text())
    assert f"{100 * measured['map']:.2f}" in lines["mAP"]


def test_it_goes_on_where_it_was_stopped(head: TrainedRun, folder: Path, tmp_path: Path) -> None:
    one = load_recipe("shape-folder-scratch", [*HEAD, ("optim.schedule", "constant")])
    straight = train(one, tmp_path / "straight", data_root=folder, device="cpu")

    class Stop(Exception):
        pass

    from batchot.training.run import Messages

    def stop(row: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(one, tmp_path / "cut", data_root=folder, device="cpu", messages=Messages(epoch=stop))
    resumed = train(one, tmp_path / "cut", data_root=folder, device="cpu", resume=True)
    assert resumed.rows[-1].loss == straight.rows[-1].loss


def test_features_and_full_training_do_not_mix_in_a_run_folder(head: TrainedRun, folder: Path) -> None:
    other = load_recipe("shape-folder-scratch", SMALL)
    before = head.folder.last.read_bytes()
    with pytest.raises(RunError, match=r"model\.train is 'all' here but 'head' in"):
        train(other, head.folder.root, data_root=folder, device="cpu", resume=True)
    assert head.folder.last.read_bytes() == before


def test_the_whole_network_is_trained_after_the_head(whole: TrainedRun) -> None:
    first = load_run(whole.folder.root / "head")
    assert first.recipe.model.train == "head" and first.recipe.epochs == 3
    assert first.metrics["epoch"] == 3
    package = backbone_of(first.tower().embedder.backbone).state_dict()
    ours = weights_of(whole)
    changed = [name for name, value in ours.items() if not torch.equal(value, package[name])]
    assert any("conv" in name for name in changed) and any("running_mean" in name for name in changed)


def test_a_head_that_is_finished_is_not_trained_again(folder: Path, tmp_path: Path) -> None:
    from batchot.training.run import Messages

    recipe = load_recipe("shape-folder-scratch", [*WHOLE, ("model.freeze_norm", "true")])

    def stop(row: object) -> None:
        if (tmp_path / "run" / "history.csv").exists():
            raise RuntimeError("stopped in the second part")

    with pytest.raises(RuntimeError, match="second part"):
        train(recipe, tmp_path / "run", data_root=folder, device="cpu", messages=Messages(epoch=stop))
    head = (tmp_path / "run" / "head" / "history.csv").read_bytes()
    run = train(recipe, tmp_path / "run", data_root=folder, device="cpu", resume=True)
    assert (tmp_path / "run" / "head" / "history.csv").read_bytes() == head
    package = backbone_of(load_run(run.folder.root / "head").tower().embedder.backbone).state_dict()
    ours = weights_of(run)
    norms = [name for name in package if ".norm." in name]
    assert norms and all(torch.equal(ours[name], package[name]) for name in norms)


@pytest.mark.parametrize("kind", ["head", "whole"])
def test_it_is_exported_as_one_network(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: TrainedRun = request.getfixturevalue(kind)
    export_run(run.folder.root, tmp_path / "out")
    views = torch.randint(0, 256, (3, 6, 2, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        expected = load_run(run.folder.root)(views)
    torch.testing.assert_close(load_exported(tmp_path / "out").embed(views), expected, atol=1e-5, rtol=0)


def test_rates_by_layer() -> None:
    recipe = load_recipe("shape-folder-scratch", [*SMALL, ("model.freeze_norm", "true")])
    network = make_untrained(recipe, {"model": (6, 2, 32, 32)}).tower()
    settings = OptimSettings(lr=0.01, backbone_lr=0.5, layer_decay=0.9)
    factors = lr_factors(settings, network)
    backbone = backbone_of(network.embedder.backbone)
    top, stem = backbone.top.conv.weight, backbone.stem.conv.weight  # type: ignore[union-attr]
    assert factors[top] == 0.5
    assert factors[stem] == pytest.approx(0.5 * 0.9 ** (len(backbone.layers()) - 1))  # type: ignore[operator]
    assert factors[network.embedder.head.layers[0].weight] == 1.0
    assert backbone.top.norm.weight not in factors  # type: ignore[union-attr]
    optimiser = make_optimiser(settings, network, torch.nn.Identity())
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert rates == {id(p): pytest.approx(0.01 * factor) for p, factor in factors.items()}


def test_what_cannot_be_is_refused_before_anything_is_read() -> None:
    with pytest.raises(RecipeError, match=r"model\.train: 'head' is not allowed.*model\.pretrained=none"):
        load_recipe("shape-folder-scratch", [("model.train", "head")])
    with pytest.raises(RecipeError, match=r"model\.kept_variants has no effect here"):
        load_recipe("shape-folder-scratch", [*SMALL, ("model.kept_variants", "2")])
    with pytest.raises(RecipeError, match="first has no effect here"):
        load_recipe("shape-folder-scratch", [*HEAD, ("first.epochs", "2")])
    with pytest.raises(RecipeError, match=r"did you mean first\.epochs|unknown setting 'first.epoch'"):
        load_recipe("shape-folder-scratch", [*WHOLE, ("first.epoch", "2")])
    recipe = load_recipe("shape-folder-scratch", WHOLE)
    assert head_recipe(recipe).model.train == "head"  # type: ignore[union-attr]


def test_index_of_a_run_on_kept_features(head: TrainedRun, folder: Path) -> None:
    from batchot.training.embed import embed_files

    files, _ = embed_files(head.folder.root, folder, device="cpu")
    assert len(files.names) == len(files.embeddings) > 0


def test_a_backbone_begins_from_a_run(whole: TrainedRun, folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe("shape-folder-scratch", [*HEAD, ("model.pretrained", str(whole.folder.root))])
    run = train(recipe, tmp_path / "run", data_root=folder, device="cpu")
    ours, theirs = weights_of(run), weights_of(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    other = load_recipe(
        "shape-folder-scratch",
        [*SMALL, ("model.backbone", "efficientnet-lite1"), ("model.pretrained", str(whole.folder.root))],
    )
    with pytest.raises(RecipeError, match=r"model\.pretrained: .* is a run of another backbone"):
        train(other, tmp_path / "other", data_root=folder, device="cpu")


def test_layers_above_the_frozen_ones_are_trained_on_their_maps(folder: Path, tmp_path: Path) -> None:
    overrides = [*SMALL, ("model.train", "head"), ("model.frozen_layers", "13"), ("optim.layer_decay", "0.9")]
    recipe = load_recipe("shape-folder-scratch", overrides)
    run = train(recipe, tmp_path / "run", data_root=folder, device="cpu")
    from batchot.models import make_backbone

    package = make_backbone("efficientnet-lite0", in_channels=1, pretrained="package")
    lower = {id(p) for layer in package.layers()[:13] for p in layer.parameters()}  # type: ignore[operator]
    names = {name for name, p in package.named_parameters() if id(p) in lower}
    ours = weights_of(run)
    for name, value in package.named_parameters():
        assert torch.equal(ours[name], value) == (name in names), name
    splits = load_splits(recipe, folder)
    embeddings = load_run(run.folder.root)(splits.test.batch(torch.arange(len(splits.test))))
    torch.testing.assert_close(embeddings, run.queries.embeddings, atol=1e-2, rtol=0)


def test_a_missing_package_names_the_recipe_without_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(
        RecipeError, match=r"pip install 'batchot\[pretrained\]'.*recipe shape-folder-scratch"
    ):
        train(load_recipe("shape-folder"), tmp_path / "run", data_root=folder, device="cpu")
    assert not (tmp_path / "run").exists()
