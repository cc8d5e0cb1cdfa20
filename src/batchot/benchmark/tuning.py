"""Settings of a loss, chosen on a part of the training set."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from batchot.benchmark.contenders import Contender, Parameter
from batchot.training.recipe import Recipe

STARTUP = 4  # trials drawn at random before the optimiser looks at what they gave


@dataclass(frozen=True)
class Trial:
    """Settings that were tried."""

    number: int  # from 0; the first are the settings as they come
    values: dict[str, float]  # by setting; those of a learning rate are factors
    score: float | None  # mAP on the validation part; None where training diverged


def tune(
    contender: Contender,
    base: Recipe,
    trials: int,
    seed: int,
    evaluate: Callable[[int, dict[str, float]], float | None],
) -> list[Trial]:
    """Try settings, by the tree-structured Parzen estimator of Optuna."""
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {name: with_start(base, name, parameter) for name, parameter in contender.space.items()}
    done: list[Trial] = []
    for number in range(trials if space else 1):
        if number == 0:
            values = {name: parameter.default for name, parameter in space.items()}
        else:
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP, seed=zlib.crc32(f"{contender.name} {seed} {number}".encode())
            )
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for trial in done:
                failed = trial.score is None
                study.add_trial(
                    create_trial(
                        params=trial.values,
                        distributions={name: p.distribution() for name, p in space.items()},
                        value=0.0 if failed else trial.score,
                        state=TrialState.COMPLETE,
                    )
                )
            asked = study.ask()
            values = {name: p.suggest(asked, name) for name, p in space.items()}
        done.append(Trial(number, values, evaluate(number, values)))
    return done


def best_of(trials: list[Trial]) -> Trial:
    """Give the trial with the highest score; the first one where all diverged."""
    return max(trials, key=lambda trial: (-1.0 if trial.score is None else trial.score, -trial.number))


def with_start(base: Recipe, name: str, parameter: Parameter) -> Parameter:
    """Give a parameter that starts at the recipe's own value, its range widened to hold it."""
    section, _, setting = name.partition(".")
    if parameter.factor:
        return parameter
    if setting.startswith("options."):
        start = base.loss.options.get(setting.removeprefix("options."), parameter.default)
    elif name == "optim.loss_lr_factor":
        start = parameter.default if base.optim.loss_lr_factor == 1.0 else base.optim.loss_lr_factor
    else:
        start = float(getattr(getattr(base, section), setting))
    low, high = min(parameter.low, start), max(parameter.high, start)
    return replace(parameter, default=start, low=low, high=high)


def as_overrides(
    base: Recipe, space: dict[str, Parameter], values: dict[str, float]
) -> list[tuple[str, str]]:
    """Give tuned values as overrides of a recipe."""
    overrides = []
    for name, value in values.items():
        if not space[name].factor:
            overrides.append((name, repr(value)))
            continue
        overrides.append((name, repr(getattr(base.optim, name.partition(".")[2]) * value)))
        if name == "optim.lr" and base.optim.name == "muon":  # the rates of one optimiser go together
            overrides.append(("optim.muon_lr", repr(base.optim.muon_lr * value)))
    return overrides
