"""Cross-modal runs on digits, which two different networks see: the whole path in seconds."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from batchot.data import load_digits
from batchot.errors import RunError, RunInterrupted
from batchot.towers.embedder import tie
from batchot.training import load_run
from batchot.training.evaluate import evaluate
from batchot.training.recipe import Recipe
from batchot.training.recipes import load_recipe
from batchot.training.run import Messages, TrainedRun, train
from saved_runs import make_untrained


def read(file: Path, *overrides: tuple[str, str]) -> Recipe:
    return load_recipe(str(file), overrides)


@pytest.fixture(scope="module")
def finished(digits_twice: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return train(read(digits_twice), tmp_path_factory.mktemp("cross") / "run", device="cpu")


def test_a_run_leaves_its_files(finished: TrainedRun) -> None:
    folder = finished.folder
    assert folder.last.is_file() and folder.best.is_file() and folder.metrics.is_file()
    rows = list(csv.DictReader(folder.history.open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[-1]["accuracy_by"] == "head"
    assert 0.15 < float(rows[-1]["map"]) < 1
    assert float(rows[-1]["marginal_error"]) < 1e-5


def test_scores_are_those_of_the_queries_against_the_gallery(finished: TrainedRun) -> None:
    x, y = finished.queries, finished.gallery
    similarity = x.embeddings @ y.embeddings.T
    first = y.labels[similarity.argmax(1)]
    assert finished.rows[-1].nn == pytest.approx((first == x.labels).float().mean().item(), abs=2e-3)


def test_the_loaded_run_embeds_as_the_training_did(finished: TrainedRun) -> None:
    towers = load_run(finished.folder.root)
    assert (tuple(towers.towers), towers.embedding_dim) == (("left", "right"), 8)
    test = load_digits().test
    for name, expected in (("left", finished.queries), ("right", finished.gallery)):
        with torch.no_grad():
            embeddings = towers(name, test.batch(torch.arange(50)))
        torch.testing.assert_close(embeddings, expected.embeddings[:50], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="no tower 'middle'; there are left, right"):
        towers("middle", test.images)


def test_evaluation_gives_the_figures_of_the_run(finished: TrainedRun) -> None:
    table = dict(evaluate(finished.folder.root, device="cpu"))
    assert table["left to right"] == "500 queries, 500 in the gallery"
    assert float(table["mAP"].split()[0]) == pytest.approx(100 * (finished.rows[-1].map or 0), abs=0.011)
    of_classes = [float(value.split()[0]) for name, value in table.items() if name.startswith("class ")]
    assert len(of_classes) == 10
    padded = [float(value) for value in table["mAP padded as SHREC'13"].split()]
    assert all(p < float(v) for p, v in zip(padded, table["mAP"].split(), strict=True))
    assert sum(of_classes) / 10 == pytest.approx(float(table["mAP"].split()[1]), abs=0.011)


class StopAt:
    """Ask to stop at a batch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(self, row: object) -> None:
        import os
        import signal

        if getattr(row, "epoch", 0) == self.epoch:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_goes_on_and_ends_the_same(
    finished: TrainedRun, digits_twice: Path, tmp_path: Path
) -> None:
    recipe, out = read(digits_twice), tmp_path / "run"
    with pytest.raises(RunInterrupted):
        train(recipe, out, device="cpu", messages=Messages(epoch=StopAt(1)))
    again = train(recipe, out, device="cpu", resume=True)
    assert [row.epoch for row in again.rows] == [1, 2]
    torch.testing.assert_close(again.queries.embeddings, finished.queries.embeddings)
    torch.testing.assert_close(again.gallery.embeddings, finished.gallery.embeddings)


def test_a_folder_with_a_run_is_left_alone(finished: TrainedRun, digits_twice: Path) -> None:
    with pytest.raises(RunError, match="holds a run already"):
        train(read(digits_twice), finished.folder.root, device="cpu")
    with pytest.raises(RunError, match=r"left.batch.size is 40 here but 20"):
        other = read(digits_twice, ("left.batch.size", "40"))
        train(other, finished.folder.root, device="cpu", resume=True)


@pytest.mark.parametrize(
    "loss", ["uniform", "contrastive", "triplet", "lifted", "multi-similarity", "supcon"]
)
@pytest.mark.parametrize("four_terms", ["false", "true"])
def test_other_losses_train_too(loss: str, four_terms: str, digits_twice: Path, tmp_path: Path) -> None:
    overrides = [("loss", loss), ("together.four_terms", four_terms), ("epochs", "1"), ("data.limit", "60")]
    run = train(read(digits_twice, *overrides), tmp_path / "run", device="cpu")
    assert run.rows[-1].map is not None


def test_without_classes_of_the_gallery_alone_there_are_no_negatives(
    digits_twice: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    recipe = read(digits_twice, ("together.negatives", "3"), ("epochs", "1"), ("data.limit", "60"))
    train(recipe, tmp_path / "run", device="cpu", messages=Messages(note=told.append))
    assert any("every class of right is asked for" in line for line in told)


@pytest.mark.parametrize("share", ["backbone", "all"])
@pytest.mark.parametrize("norm", ["separate", "shared"])
def test_shared_weights_are_one_and_norms_are_apart(share: str, norm: str, digits_twice: Path) -> None:
    recipe = read(digits_twice, ("together.share", share), ("together.norm", norm))
    network = make_untrained(recipe, {"left": (1, 8, 8), "right": (1, 8, 8)})
    left, right = network.tower("left").embedder, network.tower("right").embedder
    conv = [[p for p in t.backbone.parameters() if p.ndim == 4] for t in (left, right)]
    assert conv[0] and all(a is b for a, b in zip(*conv, strict=True))
    norms = [[m for m in t.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)] for t in (left, right)]
    same = {a.weight is b.weight for a, b in zip(*norms, strict=True)}
    assert same == {norm == "shared"}
    fully = [[p for p in t.head.parameters() if p.ndim == 2] for t in (left, right)]
    assert {a is b for a, b in zip(*fully, strict=True)} == {share == "all"}
    x = torch.rand(4, 1, 8, 8)
    network.eval()

    def embed_alike() -> bool:
        return torch.equal(network.tower("left")(x), network.tower("right")(x))

    assert embed_alike() == (share == "all")  # norms that are apart begin alike
    with torch.no_grad():
        norms[0][0].bias += torch.linspace(0, 1, len(norms[0][0].bias))
    assert embed_alike() == ((share, norm) == ("all", "shared"))
    # statistics that are in common move together
    network.train()
    network.tower("left")(x)
    moved = norms[0][0].running_mean, norms[1][0].running_mean
    assert torch.equal(*moved) == (norm == "shared")


def test_a_third_tower_is_trained_along(digits_twice: Path, tmp_path: Path) -> None:
    text = digits_twice.read_text()
    third = text[text.index("  right:") : text.index("together:")].replace("right:", "middle:")
    file = tmp_path / "thrice.yaml"
    file.write_text(text.replace("  right:", third + "  right:"))
    recipe = read(file, ("epochs", "1"))
    assert recipe.pairs == [("left", "middle"), ("left", "right"), ("middle", "right")]
    run = train(recipe, tmp_path / "run", device="cpu")
    towers = load_run(run.folder.root)
    assert tuple(towers.towers) == ("left", "middle", "right")
    assert towers("middle", load_digits().test.images[:3]).shape == (3, 8)


def test_only_alike_modules_are_tied() -> None:
    with pytest.raises(ValueError, match="must be alike"):
        tie(torch.nn.Linear(2, 3), torch.nn.Linear(2, 4), separate_norm=True)
