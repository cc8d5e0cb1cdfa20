from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from batchot.errors import RunError, RunInterrupted
from batchot.files import RunFolder
from batchot.losses import BatchOTLoss
from batchot.training.losses import PARTS, histogram_of, make_loss, normalizes, read_plans
from batchot.training.recipe import LOSSES, LossName, LossSettings, RecipeError
from batchot.training.recipes import load_recipe
from batchot.training.run import Messages, TrainedRun, train


def test_table_has_every_name_that_a_recipe_may_use() -> None:
    assert tuple(LOSSES) == get_args(LossName)


@pytest.mark.parametrize("name", get_args(LossName))
def test_gradient_step_lowers_every_loss(name: LossName) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 8, generator=generator, requires_grad=True)
    labels = torch.arange(12).repeat(2) % 4
    loss = make_loss(LossSettings(name=name), n_classes=4, embedding_dim=8)
    before = loss(x, labels)
    assert before.ndim == 0
    before.backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    with torch.no_grad():
        assert loss(x - 1e-2 * x.grad, labels) < before


def test_uniform_is_the_transport_loss_with_the_uniform_plan() -> None:
    x, labels = torch.randn(10, 4, generator=torch.Generator().manual_seed(1)), torch.arange(10) % 2
    uniform = make_loss(LossSettings(name="uniform"), 2, 4)
    assert torch.equal(uniform(x, labels), BatchOTLoss(plan="uniform")(x, labels))


def test_proxies_are_parameters() -> None:
    loss = make_loss(LossSettings(name="proxy-anchor"), n_classes=5, embedding_dim=8)
    assert [tuple(p.shape) for p in loss.parameters()] == [(5, 8)]


def test_options_reach_the_library_and_unknown_ones_are_refused() -> None:
    assert make_loss(LossSettings(name="contrastive", options={"neg_margin": 0.4}), 2, 4).neg_margin == 0.4
    with pytest.raises(RecipeError, match=r"unknown option 'neg_margn'.*did you mean neg_margin\?"):
        make_loss(LossSettings(name="contrastive", options={"neg_margn": 0.4}), 2, 4)
    with pytest.raises(RecipeError, match="Allowed: none"):
        make_loss(LossSettings(name="npairs", options={"margin": 1.0}), 2, 4)
    with pytest.raises(RecipeError, match="unknown option 'num_classes'"):  # ours to give
        make_loss(LossSettings(name="proxy-anchor", options={"num_classes": 3.0}), 2, 4)


@pytest.mark.parametrize("name", get_args(LossName))
def test_normalised_losses_do_not_see_the_length_of_embeddings(name: LossName) -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(12, 6), torch.arange(12) % 3
    loss = make_loss(LossSettings(name=name), 3, 6)
    same = torch.allclose(loss(x, labels), loss(3 * x, labels), atol=1e-5)
    assert same == normalizes(loss)


def test_raw_distances_are_not_called_normalised() -> None:
    assert not normalizes(make_loss(LossSettings(normalize=False), 2, 4))


def test_a_run_writes_down_what_its_plan_did(finished_run: TrainedRun) -> None:
    rows = read_plans(finished_run.folder.plans)
    steps = [row["step"] for row in rows]
    assert steps == [1, 2, 4, 5, 8]  # 4 batches an epoch: looked at are 1, 2, 5 and the epochs' ends
    assert [row["epoch"] for row in rows][2::2] == [1.0, 2.0]
    for row in rows:
        shares = {part: histogram_of(row, part) for part in PARTS}
        assert sum(shares["positive_pairs"] + shares["negative_pairs"]) == pytest.approx(1, abs=1e-6)
        assert sum(shares["positive_mass"] + shares["negative_mass"]) == pytest.approx(1, abs=1e-6)
        assert sum(shares["positive_mass"]) == pytest.approx(row["positive_mass"], abs=1e-6)
    last = finished_run.rows[-1]
    assert rows[-1]["effective_pairs"] == last.effective_pairs
    assert rows[-1]["gradient"] == last.gradient


def test_losses_without_a_plan_have_no_such_file(small, tmp_path: Path) -> None:
    run = train(load_recipe("digits", [*small, ("loss", "supcon")]), tmp_path / "run", device="cpu")
    assert not run.folder.plans.exists()
    assert read_plans(run.folder.plans) == ()


def test_an_interrupted_run_has_the_same_history(small, finished_run: TrainedRun, tmp_path: Path) -> None:
    recipe = load_recipe("digits", [*small, ("optim.ema", "0.9")])

    def stop(row: object) -> None:
        raise RunInterrupted

    with pytest.raises(RunInterrupted):
        train(recipe, tmp_path / "run", device="cpu", messages=Messages(epoch=stop))
    # the checkpoint of that epoch was not written yet: what is lost is done again, and nothing is there twice
    run = train(recipe, tmp_path / "run", device="cpu", resume=True)
    assert read_plans(run.folder.plans) == read_plans(finished_run.folder.plans)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).plans
    path.write_text("step,epoch\n1,0.5\n2,much\n")
    with pytest.raises(RunError, match=r"plan\.csv, line 3: .*changed or damaged"):
        read_plans(path)


def test_lambda_rises_from_the_uniform_plan(small, tmp_path: Path) -> None:
    def first_and_last(name: str, *overrides: tuple[str, str]) -> tuple[float, float]:
        recipe = load_recipe("digits", [*small, ("optim.lr", "1e-6"), *overrides])
        rows = read_plans(train(recipe, tmp_path / name, device="cpu").folder.plans)
        return float(rows[0]["effective_pairs"]), float(rows[-1]["effective_pairs"])

    n = 50  # samples a batch; with this learning rate nothing but lambda changes
    uniform = n * (n - 1)
    risen, at_once = first_and_last("risen", ("loss.lam_warmup", "0.5")), first_and_last("at once")
    assert risen[0] == pytest.approx(uniform)
    assert at_once[0] < 0.95 * uniform
    assert risen[1] == pytest.approx(at_once[1], rel=1e-3)
