"""What is tuned of each loss, and in which range; the ranges hold the defaults and what papers and libraries use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Parameter:
    """A number that is tuned.

    Args:
        default: what the first trial takes
        low, high: range
        log: drawn by its logarithm
        factor: multiplies what the recipe has, instead of replacing it
    """

    default: float
    low: float
    high: float
    log: bool = False
    factor: bool = False

    def suggest(self, trial: Trial, name: str) -> float:
        """Let the optimiser choose."""
        return float(trial.suggest_float(name, self.low, self.high, log=self.log))

    def distribution(self) -> BaseDistribution:
        """The range as the optimiser knows it."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log)


# Every loss has its own best learning rate, so it is tuned for all; the recipe's was chosen with one of them.
_LR = {"optim.lr": Parameter(1.0, 0.4, 2.5, log=True, factor=True)}
_PROXY_LR = {"optim.loss_lr_factor": Parameter(10.0, 1.0, 200.0, log=True)}
_OPTIONS = "loss.options."

SPACES: dict[str, dict[str, Parameter]] = {
    "*": _LR,
    "cross-entropy": _LR,
    "batch-ot": {
        "loss.margin": Parameter(1.0, 0.5, 1.5),
        "loss.gamma": Parameter(3.0, 1.0, 10.0, log=True),
        "loss.lam": Parameter(5.0, 1.0, 20.0, log=True),
    },
    "uniform": {"loss.margin": Parameter(1.0, 0.5, 1.5), "loss.pos_margin": Parameter(0.0, 0.0, 0.3)},
    "contrastive": {
        f"{_OPTIONS}pos_margin": Parameter(0.0, 0.0, 0.3),
        f"{_OPTIONS}neg_margin": Parameter(1.0, 0.3, 1.4),
    },
    "triplet": {f"{_OPTIONS}margin": Parameter(0.05, 0.02, 0.6, log=True)},
    "lifted": {
        f"{_OPTIONS}neg_margin": Parameter(1.0, 0.3, 2.0),
        f"{_OPTIONS}pos_margin": Parameter(0.0, 0.0, 0.3),
    },
    "multi-similarity": {
        f"{_OPTIONS}alpha": Parameter(2.0, 0.5, 10.0, log=True),
        f"{_OPTIONS}beta": Parameter(50.0, 5.0, 100.0, log=True),
        f"{_OPTIONS}base": Parameter(0.5, 0.1, 0.9),
    },
    "supcon": {f"{_OPTIONS}temperature": Parameter(0.1, 0.03, 0.5, log=True)},
    "ntxent": {f"{_OPTIONS}temperature": Parameter(0.07, 0.03, 0.5, log=True)},
    "circle": {
        f"{_OPTIONS}m": Parameter(0.4, 0.1, 0.6),
        f"{_OPTIONS}gamma": Parameter(80.0, 8.0, 256.0, log=True),
    },
    "proxy-anchor": {
        f"{_OPTIONS}margin": Parameter(0.1, 0.0, 0.4),
        f"{_OPTIONS}alpha": Parameter(32.0, 4.0, 64.0, log=True),
        **_PROXY_LR,
    },
    "proxy-nca": {f"{_OPTIONS}softmax_scale": Parameter(1.0, 1.0, 32.0, log=True), **_PROXY_LR},
    "normalized-softmax": {f"{_OPTIONS}temperature": Parameter(0.05, 0.02, 0.5, log=True), **_PROXY_LR},
    "arcface": {
        f"{_OPTIONS}margin": Parameter(28.6, 5.0, 40.0),
        f"{_OPTIONS}scale": Parameter(64.0, 4.0, 64.0, log=True),
        **_PROXY_LR,
    },
    "cosface": {
        f"{_OPTIONS}margin": Parameter(0.35, 0.05, 0.5),
        f"{_OPTIONS}scale": Parameter(64.0, 4.0, 64.0, log=True),
        **_PROXY_LR,
    },
    "soft-triple": {
        f"{_OPTIONS}la": Parameter(20.0, 4.0, 40.0, log=True),
        f"{_OPTIONS}margin": Parameter(0.01, 0.0, 0.3),
        **_PROXY_LR,
    },
    "smooth-ap": {f"{_OPTIONS}temperature": Parameter(0.01, 0.003, 0.1, log=True)},
    "tuplet-margin": {
        f"{_OPTIONS}margin": Parameter(5.73, 1.0, 15.0),
        f"{_OPTIONS}scale": Parameter(64.0, 8.0, 64.0, log=True),
    },
}
