from __future__ import annotations

import math

from batchot.benchmark.contenders import Contender, best_of, contender, tune
from batchot.training.recipes import load_recipe

BASE = load_recipe("digits")
LOSS = contender("batch-ot")


def score(number: int, values: dict[str, float]) -> float:
    """Best at lam 10 and gamma 2, and blind to the others."""
    return math.exp(-(math.log(values["loss.lam"] / 10) ** 2) - math.log(values["loss.gamma"] / 2) ** 2)


def test_the_search_finds_what_is_better_than_the_start() -> None:
    trials = tune(LOSS, BASE, 30, 0, score)
    assert trials[0].values["loss.lam"] == BASE.loss.lam
    assert trials[0].values["optim.lr"] == 1.0
    assert len(trials) == 30
    assert best_of(trials).score > 0.9 > trials[0].score  # type: ignore[operator]
    for trial in trials:
        assert all(LOSS.space[n].low <= v <= LOSS.space[n].high for n, v in trial.values.items())


def test_the_same_scores_give_the_same_proposals() -> None:
    first = tune(LOSS, BASE, 8, 0, score)
    assert tune(LOSS, BASE, 8, 0, score) == first
    assert tune(LOSS, BASE, 12, 0, score)[:8] == first  # more trials go on from there
    assert tune(LOSS, BASE, 8, 1, score) != first


def test_trials_that_diverge_are_avoided() -> None:
    def half(number: int, values: dict[str, float]) -> float | None:
        return None if values["loss.lam"] > 4 else 0.5

    trials = tune(LOSS, BASE, 24, 0, half)
    assert trials[0].score is None
    assert best_of(trials).score == 0.5
    late = [trial for trial in trials[12:] if trial.score is None]
    assert len(late) < 6


def test_nothing_to_tune_is_one_trial() -> None:
    trials = tune(Contender("x", ()), BASE, 5, 0, lambda number, values: 0.5)
    assert [trial.values for trial in trials] == [{}]
