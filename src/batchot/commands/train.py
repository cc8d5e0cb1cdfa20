"""``batchot train``: by a recipe, into a run folder."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchot.commands.common import (
    FAILURE,
    INTERRUPTED,
    Parser,
    UsageError,
    add,
    data_root_of,
    fail,
    guarded,
    recipe_named,
    say,
)
from batchot.files import RunFolder
from batchot.training.launch import Processes, ProcessesError, check_parts, processes_of
from batchot.training.recipe import Recipe
from batchot.training.recipes import load_recipe
from batchot.training.settings import (
    full_name,
    is_setting,
    recipe_names,
    setting_types,
    settings_help,
    suggestion,
)

if TYPE_CHECKING:
    from batchot.device import Device
    from batchot.training.callbacks import Row
    from batchot.training.run import TrainedRun

_FLAGS = ("--resume", "--help")
_VALUED = ("--data-root", "--out", "--device", "--devices", "--num-nodes")


def _train_parser() -> Parser:
    parser = Parser(
        prog="batchot train",
        usage="batchot train RECIPE [--data-root D] [--out R] [--epochs N] [--seed S]\n"
        "                     [--device auto|cpu|cuda] [--devices N] [--num-nodes M] [--resume]\n"
        "                     [--SECTION.SETTING VALUE | SECTION.SETTING=VALUE ...]",
        description="Train by a recipe and fill a run folder: config.yaml, metrics.json, history.csv, "
        "checkpoints, figures and report.html.",
        add_help=False,
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help=f"{', '.join(recipe_names())}; folder, which is shape-folder or image-folder by what lies in "
        "--data-root; or a YAML file",
    )
    add(parser, "--data-root")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/RECIPE-LOSS-seedS)")
    add(parser, "--device")
    parser.add_argument(
        "--devices",
        type=int,
        help="processes on this machine that train one network together, each with a GPU, or a part of the cores, "
        "of its own (default: 1; under torchrun: what it started); batch.size is that of all together",
    )
    parser.add_argument(
        "--num-nodes",
        type=int,
        help="machines; run the same command on each, with MASTER_ADDR, MASTER_PORT and NODE_RANK set (default: 1)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in --out; RECIPE may be left out"
    )
    parser.add_argument("--help", action="store_true", help="this text")
    return parser


def _split(argv: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Tell overrides of settings, in both spellings, from the other arguments."""
    known = [*_FLAGS, *_VALUED, *(f"--{name}" for name in setting_types())]
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    queue = list(argv)
    while queue:
        token = queue.pop(0)
        option, equals, value = token.partition("=")
        if token == "-h":
            token = option = "--help"
        if option in _FLAGS:
            rest.append(token)
        elif option in _VALUED:
            rest.append(token)
            if not equals and queue:
                rest.append(queue.pop(0))
        elif token.startswith("-") or equals:
            name = option.lstrip("-")
            if not _may_be_setting(name):
                raise UsageError(f"unknown option {option}{suggestion('--' + full_name(name), known)}")
            if not equals:
                following = queue[0] if queue else None
                if following is not None and not following.startswith("--"):
                    value = queue.pop(0)
                elif bool in {setting_types().get(full_name(n)) for n in (name, name.partition(".")[2])}:
                    value = "true"
                else:
                    raise UsageError(f"{option} needs a value")
            overrides.append((name, value))
        else:
            rest.append(token)
    return rest, overrides


def _may_be_setting(name: str) -> bool:
    """Say whether a name is a setting, or may be one of a tower that only the recipe knows."""
    inner = name.partition(".")[2]
    return is_setting(full_name(name)) or (bool(inner) and is_setting(full_name(inner)))


def train(argv: list[str]) -> int:
    rest, overrides = _split(argv)
    parser = _train_parser()
    options = parser.parse_args(rest)
    if options.help:
        recipe = None if options.recipe is None else load_recipe(options.recipe, overrides)
        whose = "default values" if options.recipe is None else f"values of {options.recipe}"
        print(parser.format_help())
        print(
            f"settings, each as --NAME VALUE or NAME=VALUE, with the {whose} (loss=contrastive is short for"
        )
        print(f"loss.name=contrastive):\n{settings_help(recipe)}")
        return 0
    try:
        processes = processes_of(options.devices, options.num_nodes, os.environ)
    except ProcessesError as error:
        raise UsageError(str(error)) from error
    recipe, data_root = _recipe_of(options, overrides)
    check_parts(recipe, processes.count)
    if processes.to_start:
        return _launch(processes, argv)
    out: Path = options.out or _free_folder(recipe)
    where = {
        "data_root": data_root,
        "device": options.device,
        "resume": options.resume,
        "command": shlex.join(["batchot", "train", *argv]),
    }
    resume = f"go on with: batchot train --resume --out {shlex.quote(str(out))}"
    if processes.rank is not None:
        return _rank(processes, options.device, lambda: _fit(recipe, out, where), resume)

    def work() -> int:
        _finish(_fit(recipe, out, where))
        return 0

    return guarded(work, resume)


def _launch(processes: Processes, argv: list[str]) -> int:
    import __main__
    from batchot.training.launch import launch

    # as a script does: what lies in the working folder is not imported
    safe = ["-P"] if getattr(__main__, "__spec__", None) is None else []
    command = [sys.executable, *safe, "-m", "batchot", "train", *argv]
    return launch(processes, command, lambda text: print(f"batchot: {text}", file=sys.stderr, flush=True))


def _rank(processes: Processes, device: Device, train: Callable[[], TrainedRun], resume: str) -> int:
    """Train as one of several ranks: the first one speaks, and all end together."""
    # before torch: it would warn that it looks in vain for parameters without a gradient
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes.devices)))
    if sys.platform == "linux" and processes.nodes == 1:  # nothing is to be reached from elsewhere
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    from batchot.device import accelerator_of
    from batchot.errors import DataError, RunError, RunInterrupted, ShapeError
    from batchot.training.distributed import ToldByAnother, joined
    from batchot.training.launch import when_parent_ends

    if "TORCHELASTIC_RUN_ID" in os.environ:
        when_parent_ends(lambda: os._exit(1))

    def work() -> int:
        try:
            with joined(processes, accelerator_of(device)):
                run = train()
        except ToldByAnother as told:
            return told.status
        if processes.rank == 0:
            _finish(run)
        return 0

    if processes.rank == 0:
        status = guarded(work, resume)
    else:  # say only what the first rank cannot know
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, until the process ends
        warnings.simplefilter("ignore")
        try:
            status = work()
        except (RunInterrupted, KeyboardInterrupt):
            status = INTERRUPTED
        except (DataError, RunError, ShapeError, ImportError, OSError) as error:
            status = fail(f"rank {processes.rank}: {error}", FAILURE)
    if status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # whatever threads of the communication still wait for
    return 0


def _fit(recipe: Recipe, out: Path, where: dict[str, Any]) -> TrainedRun:
    from batchot.ranks import from_first
    from batchot.training.run import Messages, train

    out = from_first(out)  # the folder that is free there
    print(f"run folder: {out}")
    messages = Messages(note=say, epoch=epoch_line(out), bar=sys.stdout.isatty())
    return train(recipe, out, messages=messages, **where)


def _finish(run: TrainedRun) -> None:
    from batchot.reporting.run import write_report

    write_report(run)
    _tell(run.folder, run.rows[-1], run.waited)


def _recipe_of(options: argparse.Namespace, overrides: list[tuple[str, str]]) -> tuple[Recipe, Path | None]:
    if options.resume and options.out is None:
        raise UsageError("--resume needs --out: which run is to go on?")
    data_root = options.data_root or data_root_of(options.out)
    if options.recipe is not None:
        return load_recipe(recipe_named(options.recipe, data_root), overrides), data_root
    if not options.resume:
        raise UsageError(f"which recipe? There are {', '.join(recipe_names())}")
    config = options.out / "config.yaml"
    if not config.is_file():
        raise UsageError(f"--resume: there is no run in {options.out}")
    return load_recipe(str(config), overrides), data_root


def _free_folder(recipe: Recipe) -> Path:
    base = f"{recipe.name}-{recipe.loss.name}-seed{recipe.seed}"
    folder, number = Path("runs") / base, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{base}-{number}"
    return folder


def epoch_line(out: Path) -> Callable[[Row], None]:
    @cache
    def epochs() -> int:  # as the run has them, which max_steps may have cut
        return load_recipe(str(RunFolder(out).config)).epochs

    def tell(row: Row) -> None:
        parts = [f"epoch {row.epoch}/{epochs()}", f"loss {row.loss:.4f}"]
        if row.map is not None and row.nn is not None and row.accuracy is not None:
            parts += [f"mAP {100 * row.map:.2f}", f"NN {100 * row.nn:.2f}"]
            parts += [f"accuracy {100 * row.accuracy:.2f} ({row.accuracy_by})"]
        say("  ".join([*parts, f"{row.seconds:.0f} s of training"]))

    return tell


def _tell(folder: RunFolder, last: Row, waited: float) -> None:
    print(f"\n{folder.metrics}: {_in_words(last)}")
    print(f"waiting for data took {100 * waited:.1f} % of the training time")
    print(f"curves, embedding and nearest neighbours: {folder.figures}\nreport: {folder.report}")


def _in_words(row: Any) -> str:
    measures = ("map", "nn", "ft", "st", "e", "dcg")
    names = {"map": "mAP"}
    text = ", ".join(f"{names.get(m, m.upper())} {100 * getattr(row, m):.2f}" for m in measures)
    return f"{text} %; accuracy {100 * row.accuracy:.2f} % ({row.accuracy_by})"
