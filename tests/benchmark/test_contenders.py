from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from batchot.benchmark.compare import Comparison
from batchot.benchmark.contenders import DEFAULT, SPACES, as_overrides, contender, with_start
from batchot.losses import PRESETS
from batchot.training.losses import batch_ot_settings, make_loss
from batchot.training.recipe import LossName, RecipeError
from batchot.training.recipes import load_recipe


@pytest.mark.parametrize(
    "name", [*get_args(LossName), *DEFAULT, "cross-entropy", *(f"batch-ot:{p}" for p in PRESETS)]
)
def test_every_loss_can_be_tuned_over_all_of_its_range(name: str) -> None:
    """A setting that is misspelt, or an end of a range that the loss refuses, would end a comparison after hours."""
    loss = contender(name)
    comparison = Comparison("digits", losses=(name,))
    for end in ("default", "low", "high"):
        values = {s: getattr(with_start(comparison.base(loss), s, p), end) for s, p in loss.space.items()}
        recipe = comparison.tuning_recipe(loss, values)
        make_loss(recipe.loss, n_classes=4, embedding_dim=8)
        assert recipe.loss.cross_entropy_weight == (1 if name == "cross-entropy" else 0)
    assert "optim.lr" in loss.space


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_what_they_say(preset: str) -> None:
    recipe = Comparison("digits").base(contender(f"batch-ot:{preset}"))
    assert batch_ot_settings(recipe.loss) == PRESETS[preset]
    assert recipe.loss.anchors == 0


def test_settings_that_are_given_are_not_tuned() -> None:
    loss = contender("supcon:options.temperature=0.2,optim.lr=0.01")
    assert loss.space == {}
    recipe = Comparison("digits").base(loss)
    assert recipe.loss.options == {"temperature": 0.2}
    assert recipe.optim.lr == 0.01


def test_the_cross_entropy_of_the_recipe_can_stay() -> None:
    assert load_recipe("mnist", contender("supcon", joint=True).overrides).loss.cross_entropy_weight == 0.2
    assert load_recipe("mnist", contender("supcon").overrides).loss.cross_entropy_weight == 0


def test_first_trial_takes_what_the_recipe_says() -> None:
    comparison = Comparison("digits", (("loss.lam", "33"),))
    loss = contender("batch-ot")
    found = with_start(comparison.base(loss), "loss.lam", loss.space["loss.lam"])
    assert (found.default, found.high) == (33.0, 33.0)  # outside the usual range, which is widened


def test_rates_of_one_optimiser_are_tuned_together() -> None:
    base = load_recipe("cifar10")
    assert base.optim.name == "muon"
    found = dict(as_overrides(base, SPACES["*"], {"optim.lr": 2.0}))
    assert float(found["optim.lr"]) == 2 * base.optim.lr
    assert float(found["optim.muon_lr"]) == 2 * base.optim.muon_lr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suppcon", r"unknown loss 'suppcon'; did you mean supcon\?"),
        (
            "batch-ot:papper",
            "'papper' is neither SETTING=VALUE nor a preset of batch-ot; presets are paper, author",
        ),
        ("supcon:paper", "presets are those of batch-ot"),
        ("cross-entropy:lam=3", "cross-entropy has no settings"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        contender(text)


def test_a_comparison_is_checked_when_it_is_made() -> None:
    good = Comparison("digits")
    for change, message in (
        ({"seeds": (0, 1)}, "not 0, which is that of the tuning"),
        ({"seeds": ()}, "--seeds"),
        ({"trials": -1}, "--trials"),
        ({"validation": 1.0}, "--validation"),
        ({"losses": ("supcon", "supcon")}, "different losses"),
        ({"overrides": (("data.validation", "0.2"),)}, "data.validation"),
        ({"tuning": (("data.validation", "0.2"),)}, "data.validation"),
        ({"overrides": (("seed", "4"),)}, "belongs to --seeds"),
    ):
        with pytest.raises(RecipeError, match=message):
            dataclasses.replace(good, **change)


def test_tuning_never_sees_the_test_set_and_final_runs_always_do() -> None:
    comparison = Comparison("mnist", validation=0.2, tuning=(("epochs", "1"), ("data.limit", "500")))
    loss = contender("supcon")
    tuning = comparison.tuning_recipe(loss, {"optim.lr": 0.5})
    final = comparison.final_recipe(loss, {"optim.lr": 0.5}, seed=7)
    assert (tuning.data.validation, tuning.epochs, tuning.data.limit, tuning.seed) == (0.2, 1, 500, 0)
    assert (final.data.validation, final.epochs, final.data.limit, final.seed) == (0.0, 5, None, 7)
    assert tuning.optim.lr == final.optim.lr == 0.5 * comparison.base(loss).optim.lr
    for section in ("model", "batch", "augment"):
        assert getattr(tuning, section) == getattr(final, section) == getattr(load_recipe("mnist"), section)
