"""One recipe with one loss after another: settings tuned alike, then fresh seeds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchot.benchmark.contenders import (
    DEFAULT,
    WITH_TOWERS,
    Contender,
    Trial,
    as_overrides,
    best_of,
    contender,
    tune,
)
from batchot.benchmark.job import Job, commit
from batchot.benchmark.runner import Outcome, Runner
from batchot.device import Device
from batchot.errors import RunError, RunInterrupted, Tell, nobody
from batchot.files import RunFolder, write_json
from batchot.training.callbacks import StopRequest
from batchot.training.losses import Objective
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.recipes import load_recipe, to_mapping
from batchot.training.settings import leaves

Overrides = Sequence[tuple[str, str]]
TUNING_SEED = 0

SUBJECT = "comparison.json"
OWN_FOLDERS = ("folder", "shape-folder", "sketches")  # data of the user, other data under another --data-root


@dataclass(frozen=True)
class Comparison:
    """What is compared."""

    recipe: str  # name or file
    overrides: Overrides = ()  # of its settings, for every loss
    # see `contender`; the first one is set against all others (none: those of `DEFAULT`)
    losses: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1, 2, 3)  # of the runs that count; 0 is that of the tuning
    trials: int = 8  # settings tried for each loss (0: as they come)
    validation: float = 0.1  # share of the training samples on which settings are judged
    tuning: Overrides = ()  # overrides for the tuning runs alone, such as fewer epochs
    # leave the cross-entropy of the recipe beside each loss data_root, device: as in `batchot.training.run.train`
    joint: bool = False
    data_root: Path | None = None
    device: Device = "auto"
    processes: int = 1  # runs at once
    threads: int = 1  # of each
    keep: bool = False  # leave the networks of all runs
    command: str = ""  # kept with the results

    def __post_init__(self) -> None:
        for name, value, least in (("processes", self.processes, 1), ("trials", self.trials, 0)):
            if value < least:
                raise RecipeError(f"--{name}: {value} is not allowed; it must be >= {least}")
        if not self.seeds or TUNING_SEED in self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise RecipeError(
                f"--seeds: seeds must be different ones and not {TUNING_SEED}, which is that of the tuning"
            )
        if not 0 < self.validation < 1:
            raise RecipeError(f"--validation: {self.validation} is not allowed; it must be between 0 and 1")
        if len(set(self.losses)) != len(self.losses):
            raise RecipeError("--losses: one or more different losses")
        for name, _ in (*self.overrides, *self.tuning):  # would be set over by what they are here
            if name == "seed":
                raise RecipeError("seed: belongs to --seeds here")
            if name == "data.validation":
                raise RecipeError(
                    "data.validation: belongs to --validation here, the runs that count are on the test set"
                )
        recipe = load_recipe(self.recipe, self.overrides)
        if not self.losses:
            object.__setattr__(self, "losses", WITH_TOWERS if recipe.several else DEFAULT)
        if any(tower.data.validation for tower in recipe.towers.values()):
            raise RecipeError(f"{self.recipe}: data.validation must be 0 here, see --validation")

    def contenders(self) -> list[Contender]:
        return [contender(name, joint=self.joint) for name in self.losses]

    def base(self, loss: Contender) -> Recipe:
        return load_recipe(self.recipe, [*self.overrides, *loss.overrides])

    def with_values(self, loss: Contender, values: dict[str, float], further: Overrides) -> Recipe:
        tuned = as_overrides(self.base(loss), loss.space, values)
        return load_recipe(self.recipe, [*self.overrides, *loss.overrides, *tuned, *further])

    def tuning_recipe(self, loss: Contender, values: dict[str, float]) -> Recipe:
        """The recipe of a tuning run: judged once, at its end, on a part of the training set."""
        recipe = self.with_values(loss, values, self.tuning)
        once = (("evaluation.every", str(recipe.epochs)), ("evaluation.also", "[]"))
        # with towers some of the queries are held out, and they are searched for in the whole gallery
        part = f"{recipe.query}." if recipe.several else ""
        least = min(recipe.evaluation.train_samples, 500)  # for the accuracy, which is not looked at
        own = (
            *once,
            ("evaluation.train_samples", str(least)),
            (f"{part}data.validation", str(self.validation)),
            ("seed", str(TUNING_SEED)),
        )
        return self.with_values(loss, values, [*self.tuning, *own])

    def final_recipe(self, loss: Contender, values: dict[str, float], seed: int) -> Recipe:
        return self.with_values(loss, values, [("seed", str(seed))])


@dataclass
class Result:
    """What came out for a loss."""

    contender: Contender  # the loss
    trials: list[Trial] = field(default_factory=list)  # of the tuning, in order
    values: dict[str, float] = field(default_factory=dict)  # that were chosen
    runs: dict[int, Outcome] = field(default_factory=dict)  # by seed


@dataclass(frozen=True)
class Compared:
    """A comparison that is done."""

    comparison: Comparison  # what was compared
    results: list[Result]  # of each loss, in order started, finished: of this session, UTC
    started: datetime
    finished: datetime


def compare(comparison: Comparison, out: Path, tell: Tell = nobody) -> Compared:
    """Tune every loss with the same budget, then train with fresh seeds."""
    losses = comparison.contenders()
    _check(comparison, losses)
    from filelock import FileLock, Timeout

    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock", timeout=0)
        with lock:
            claim(out, comparison)
            return _compare(comparison, losses, out, tell)
    except Timeout as error:
        raise RunError(
            f"another comparison is at work in {out}; wait for it, or give another --out"
        ) from error
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror or error}") from error


def _check(comparison: Comparison, losses: Sequence[Contender]) -> None:
    """Find wrong settings before the first hour of work."""
    for loss in losses:
        Objective(comparison.base(loss), 2)
        first = {name: parameter.default for name, parameter in loss.space.items()}
        comparison.tuning_recipe(loss, first)
    if comparison.trials:
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise RunError(
                "--trials needs Optuna, which is missing: pip install 'batchot[compare]'"
            ) from error


def _compare(comparison: Comparison, losses: Sequence[Contender], out: Path, tell: Tell) -> Compared:
    started = datetime.now(UTC)
    runner = Runner(out / "runs", comparison.processes)
    progress = _Progress(comparison, losses, tell)
    results = [Result(loss) for loss in losses]
    code = commit()

    def job(recipe: Recipe) -> Job:
        c = comparison
        return Job(recipe, c.data_root, c.device, c.threads, c.keep, c.command, code)

    def search(result: Result) -> None:
        loss = result.contender

        def evaluate(number: int, values: dict[str, float]) -> float | None:
            outcome = runner.run(loss.slug, job(comparison.tuning_recipe(loss, values)))
            score = None if outcome.diverged else outcome.map
            progress.trial(loss, number, score, outcome)
            return score

        base = comparison.base(loss)
        if comparison.trials:
            result.trials = tune(loss, base, comparison.trials, TUNING_SEED, evaluate)
            result.values = best_of(result.trials).values

    def final(result: Result, seed: int) -> None:
        recipe = comparison.final_recipe(result.contender, result.values, seed)
        outcome = runner.run(result.contender.slug, job(recipe))
        result.runs[seed] = outcome
        progress.final(result.contender, seed, outcome)

    stop = StopRequest()
    with stop.listening(nobody), ThreadPoolExecutor(max(comparison.processes, 1)) as pool:
        try:
            _wait([pool.submit(search, result) for result in results], stop)
            # Seed by seed, so that an early end still leaves a table of all losses
            _wait([pool.submit(final, result, seed) for seed in comparison.seeds for result in results], stop)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop(tell)
            raise
    return Compared(comparison, results, started, datetime.now(UTC))


def _wait(futures: list[Future[None]], stop: StopRequest) -> None:
    """Wait for all; the first error, or a request to stop, ends it."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        if stop.made:
            raise RunInterrupted


class _Progress:
    """Says what has been done and how long the rest takes."""

    def __init__(self, comparison: Comparison, losses: Sequence[Contender], tell: Tell) -> None:
        self.tell = tell
        self._lock = threading.Lock()
        self._began = time.monotonic()
        tuned = [comparison.trials if loss.space else min(1, comparison.trials) for loss in losses]
        finals = len(losses) * len(comparison.seeds)
        self._total = sum(tuned) + finals
        # what a run costs, in epochs, to say how much of the work is left
        short = comparison.tuning_recipe(losses[0], {n: p.default for n, p in losses[0].space.items()}).epochs
        long = comparison.base(losses[0]).epochs
        self._cost = {"trial": short, "final": long}
        self._left = float(sum(tuned) * short + finals * long)
        self._here = 0.0
        self._done = 0

    def trial(self, loss: Contender, number: int, score: float | None, outcome: Outcome) -> None:
        self._say("trial", f"{loss.name}, trial {number + 1}: {_scored('validation mAP', score)}", outcome)

    def final(self, loss: Contender, seed: int, outcome: Outcome) -> None:
        score = None if outcome.diverged else outcome.map
        self._say("final", f"{loss.name}, seed {seed}: {_scored('mAP', score)}", outcome)

    def _say(self, kind: str, text: str, outcome: Outcome) -> None:
        with self._lock:
            self._done += 1
            self._left -= self._cost[kind]
            if not outcome.here:
                self.tell(f"[{self._done}/{self._total}] {text} (was there)")
                return
            self._here += self._cost[kind]
            rest = (time.monotonic() - self._began) * self._left / self._here
            left = f", about {rest / 60:.0f} min left" if self._left > 0 else ""
            self.tell(f"[{self._done}/{self._total}] {text}{left}")


def _scored(what: str, score: float | None) -> str:
    return "diverged" if score is None else f"{what} {100 * score:.2f}"


def claim(out: Path, comparison: Comparison) -> None:
    """Write down what is compared in a folder, or find it written there."""
    if RunFolder(out).holds_run():
        raise RunError(f"{out} holds a training run; give another --out")
    path, ours = out / SUBJECT, _subject(comparison)
    if not path.is_file():
        write_json(path, ours)
        return
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); give another --out") from error
    if names:
        told = ", ".join(f"{name}={theirs.get(name)} (here {ours.get(name)})" for name in names[:4])
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        raise RunError(f"{out} holds another comparison, with {told}{more}; give another --out")


def _subject(comparison: Comparison) -> dict[str, Any]:
    recipe = load_recipe(comparison.recipe, comparison.overrides)
    values = leaves(to_mapping(recipe), known=not recipe.several)
    for name in ("about", "seed", "checkpoint_minutes"):
        values.pop(name)
    root = comparison.data_root
    own = root is not None and any(tower.data.name in OWN_FOLDERS for tower in recipe.towers.values())
    values |= {"--joint": comparison.joint, "--data-root": str(root.resolve()) if root and own else None}
    return values
