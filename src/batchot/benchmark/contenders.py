"""Which losses take part in a comparison, and how the settings of each are tuned."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from batchot.losses.settings import PRESETS
from batchot.training.recipe import LOSSES, Recipe, RecipeError
from batchot.training.settings import suggestion

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Parameter:
    """A number that is tuned."""

    default: float  # what the first trial takes low, high: range
    low: float
    high: float
    log: bool = False  # drawn by its logarithm
    factor: bool = False  # multiplies what the recipe has, instead of replacing it

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log)


# Every loss has its own best learning rate, so it is tuned for all; the recipe's was chosen with one of them.
_LR = {"optim.lr": Parameter(1.0, 0.4, 2.5, log=True, factor=True)}
_PROXY_LR = {"optim.loss_lr_factor": Parameter(10.0, 1.0, 200.0, log=True)}


def _options(**ranges: Parameter) -> dict[str, Parameter]:
    return {f"loss.options.{name}": range for name, range in ranges.items()}


SPACES: dict[str, dict[str, Parameter]] = {
    "*": _LR,
    "cross-entropy": _LR,
    "batch-ot": {
        "loss.margin": Parameter(1.0, 0.5, 1.5),
        "loss.gamma": Parameter(3.0, 1.0, 10.0, log=True),
        "loss.lam": Parameter(5.0, 1.0, 20.0, log=True),
    },
    "uniform": {"loss.margin": Parameter(1.0, 0.5, 1.5), "loss.pos_margin": Parameter(0.0, 0.0, 0.3)},
    "contrastive": _options(pos_margin=Parameter(0.0, 0.0, 0.3), neg_margin=Parameter(1.0, 0.3, 1.4)),
    "triplet": _options(margin=Parameter(0.05, 0.02, 0.6, log=True)),
    "lifted": _options(neg_margin=Parameter(1.0, 0.3, 2.0), pos_margin=Parameter(0.0, 0.0, 0.3)),
    "multi-similarity": _options(
        alpha=Parameter(2.0, 0.5, 10.0, log=True),
        beta=Parameter(50.0, 5.0, 100.0, log=True),
        base=Parameter(0.5, 0.1, 0.9),
    ),
    "supcon": _options(temperature=Parameter(0.1, 0.03, 0.5, log=True)),
    "ntxent": _options(temperature=Parameter(0.07, 0.03, 0.5, log=True)),
    "circle": _options(m=Parameter(0.4, 0.1, 0.6), gamma=Parameter(80.0, 8.0, 256.0, log=True)),
    "proxy-anchor": _options(margin=Parameter(0.1, 0.0, 0.4), alpha=Parameter(32.0, 4.0, 64.0, log=True))
    | _PROXY_LR,
    "proxy-nca": _options(softmax_scale=Parameter(1.0, 1.0, 32.0, log=True)) | _PROXY_LR,
    "normalized-softmax": _options(temperature=Parameter(0.05, 0.02, 0.5, log=True)) | _PROXY_LR,
    "arcface": _options(margin=Parameter(28.6, 5.0, 40.0), scale=Parameter(64.0, 4.0, 64.0, log=True))
    | _PROXY_LR,
    "cosface": _options(margin=Parameter(0.35, 0.05, 0.5), scale=Parameter(64.0, 4.0, 64.0, log=True))
    | _PROXY_LR,
    "soft-triple": _options(la=Parameter(20.0, 4.0, 40.0, log=True), margin=Parameter(0.01, 0.0, 0.3))
    | _PROXY_LR,
    "smooth-ap": _options(temperature=Parameter(0.01, 0.003, 0.1, log=True)),
    "tuplet-margin": _options(margin=Parameter(5.73, 1.0, 15.0), scale=Parameter(64.0, 8.0, 64.0, log=True)),
}


# lifted and npairs trailed the others by more than ten points wherever they were tried, circle by as much on CIFAR-10
# as it comes; they can be asked for. Nine losses of three seeds on MNIST take two cores less than an hour.
DEFAULT = (
    "batch-ot:anchors=0.5", "batch-ot:anchors=0", "uniform:anchors=0", "contrastive", "triplet",
    "multi-similarity", "supcon", "proxy-anchor", "normalized-softmax",
)  # fmt: skip
WITH_TOWERS = tuple(name for name in DEFAULT if name != "batch-ot:anchors=0.5")  # anchors are of one network
_PRESET_SETTINGS = ("margin", "pos_margin", "gamma", "lam", "normalize", "grad", "distance_power", "power")


@dataclass(frozen=True)
class Contender:
    """A loss with settings of its own."""

    name: str  # as it was given and is shown
    overrides: tuple[tuple[str, str], ...]  # settings of the recipe that make it
    space: dict[str, Parameter] = field(default_factory=dict)  # what is tuned, by setting

    @property
    def ours(self) -> bool:
        return self.name.partition(":")[0] in ("batch-ot", "uniform")

    @property
    def slug(self) -> str:
        return self.name.replace(":", "-").replace("=", "-").replace(",", "-").replace("/", "-")


def contender(text: str, *, joint: bool = False) -> Contender:
    """Read a contender: LOSS, LOSS:PRESET or LOSS:SETTING=VALUE,..."""
    name, _, own = text.partition(":")
    if name == "cross-entropy":
        if own:
            raise RecipeError(f"--losses: {text}: cross-entropy has no settings")
        fixed = (("loss.weight", "0"), ("loss.cross_entropy_weight", "1"))
        return Contender(text, fixed, dict(SPACES["cross-entropy"]))
    names = (*LOSSES, "cross-entropy")
    if name not in names:
        raise RecipeError(
            f"--losses: unknown loss {name!r}{suggestion(name, names)} There are {', '.join(names)}"
        )
    overrides = [("loss.name", name)]
    if own in PRESETS:
        if name != "batch-ot":
            raise RecipeError(f"--losses: {text}: presets are those of batch-ot")
        overrides += _preset(own)
    elif own:
        for part in own.split(","):
            setting, equals, value = part.partition("=")
            if not equals:
                raise RecipeError(
                    f"--losses: {text}: {part!r} is neither SETTING=VALUE nor a preset of batch-ot; presets are "
                    f"{', '.join(PRESETS)}"
                )
            named = "." in setting and "options" not in setting.split(".")[0]
            overrides.append((setting if named else f"loss.{setting}", value))
    given = {setting for setting, _ in overrides}
    space = {} if own in PRESETS else SPACES.get(name, {})
    tuned = {s: p for s, p in {**SPACES["*"], **space}.items() if s not in given}
    if not joint:
        overrides.append(("loss.cross_entropy_weight", "0"))
    return Contender(text, tuple(overrides), tuned)


def _preset(name: str) -> list[tuple[str, str]]:
    values = dataclasses.asdict(PRESETS[name])
    own = [(f"loss.{setting}", _text(values[setting])) for setting in _PRESET_SETTINGS]
    return [*own, ("loss.anchors", "0")]  # the paper and its programs have none


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    distributions = {name: parameter.distribution() for name, parameter in space.items()}
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
                        distributions=distributions,
                        value=0.0 if failed else trial.score,
                        state=TrialState.COMPLETE,
                    )
                )
            values = study.ask(distributions).params
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
    overrides = []
    for name, value in values.items():
        if not space[name].factor:
            overrides.append((name, repr(value)))
            continue
        overrides.append((name, repr(getattr(base.optim, name.partition(".")[2]) * value)))
        if name == "optim.lr" and base.optim.name == "muon":  # the rates of one optimiser go together
            overrides.append(("optim.muon_lr", repr(base.optim.muon_lr * value)))
    return overrides
