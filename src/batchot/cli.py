"""The command ``batchot``; what is slow to import is imported once the arguments are known to be right."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from batchot.training.recipe import Recipe, RecipeError
from batchot.training.settings import (
    full_name,
    is_setting,
    load_recipe,
    recipe_names,
    setting_types,
    settings_help,
    suggestion,
)

if TYPE_CHECKING:
    from batchot.training.callbacks import Row
    from batchot.training.run import TrainedRun

USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130
_FLAGS = ("--resume", "--help")
_VALUED = ("--data-root", "--out", "--device")


class _UsageError(Exception):
    """The command line is wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see {self.prog} --help)")


@dataclass
class _TrainArguments:
    rest: list[str] = field(default_factory=list)  # for argparse
    overrides: list[tuple[str, str]] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line, without the name of the command

    Returns:
        Exit status: 0; 1 where data or a run is at fault; 2 where the command line is; 130 when interrupted.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"train": _train, "evaluate": _evaluate, "recipes": _recipes}
    try:
        if argv and argv[0] in commands:
            return commands[argv[0]](argv[1:])
        if argv and not argv[0].startswith("-"):
            names = list(commands)
            closest = suggestion(argv[0], names)
            raise _UsageError(f"unknown command {argv[0]!r}; there are {', '.join(names)}{closest}")
        return _top(argv)
    except (_UsageError, RecipeError) as error:
        return _fail(str(error), USAGE_ERROR)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        return 0


def _fail(message: str, status: int) -> int:
    print(f"batchot: {message}", file=sys.stderr)
    return status


def _top(argv: list[str]) -> int:
    parser = _Parser(
        prog="batchot",
        description="Deep metric learning with a batch-wise optimal transport loss.",
        usage="batchot COMMAND ...",
        epilog="commands:\n"
        "  train RECIPE   train by a recipe and fill a run folder\n"
        "  evaluate RUN   measure a trained run\n"
        "  recipes        list the recipes\n\n"
        "batchot COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    if parser.parse_args(argv).version:
        from batchot import __version__

        print(f"batchot {__version__}")
        return 0
    parser.print_help()
    return 0


def _recipes(argv: list[str]) -> int:
    _Parser(prog="batchot recipes", description="List the recipes of the package.").parse_args(argv)
    names = recipe_names()
    width = max(map(len, names))
    for name in names:
        recipe = load_recipe(name)
        print(f"{name:{width}}  {recipe.epochs:3d} epochs  {recipe.about}")
    print("\nbatchot train RECIPE --help lists the settings; a YAML file of your own is a recipe too.")
    return 0


def _train_parser() -> _Parser:
    parser = _Parser(
        prog="batchot train",
        usage="batchot train RECIPE [--data-root D] [--out R] [--epochs N] [--seed S]\n"
        "                     [--device auto|cpu|cuda] [--resume]\n"
        "                     [--SECTION.SETTING VALUE | SECTION.SETTING=VALUE ...]",
        description="Train by a recipe and fill a run folder: config.yaml, metrics.json, history.csv, "
        "checkpoints, figures and report.html.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help=f"{', '.join(recipe_names())}, or a YAML file"
    )
    parser.add_argument(
        "--data-root", type=Path, help="where the data lies (default: $BATCHOT_DATA, else downloads)"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/RECIPE-LOSS-seedS)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if any"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in --out; RECIPE may be left out"
    )
    parser.add_argument("--help", action="store_true", help="this text")
    return parser


def _split(argv: list[str]) -> _TrainArguments:
    """Tell overrides of settings, in both spellings, from the other arguments."""
    known = [*_FLAGS, *_VALUED, *(f"--{name}" for name in setting_types())]
    split = _TrainArguments()
    queue = list(argv)
    while queue:
        token = queue.pop(0)
        option, equals, value = token.partition("=")
        if token == "-h":
            token = option = "--help"
        if option in _FLAGS:
            split.rest.append(token)
        elif option in _VALUED:
            split.rest.append(token)
            if not equals and queue:
                split.rest.append(queue.pop(0))
        elif token.startswith("-") or equals:
            name = full_name(option.lstrip("-"))
            if not is_setting(name):
                raise _UsageError(f"unknown option {option}{suggestion('--' + name, known)}")
            if not equals:
                following = queue[0] if queue else None
                if following is not None and not following.startswith("--"):
                    value = queue.pop(0)
                elif setting_types().get(name) is bool:
                    value = "true"
                else:
                    raise _UsageError(f"{option} needs a value")
            split.overrides.append((name, value))
        else:
            split.rest.append(token)
    return split


def _train(argv: list[str]) -> int:
    split = _split(argv)
    parser = _train_parser()
    options = parser.parse_args(split.rest)
    if options.help:
        recipe = None if options.recipe is None else load_recipe(options.recipe, split.overrides)
        whose = "default values" if options.recipe is None else f"values of {options.recipe}"
        print(parser.format_help())
        print(
            f"settings, each as --NAME VALUE or NAME=VALUE, with the {whose} (loss=contrastive is short for"
        )
        print(f"loss.name=contrastive):\n{settings_help(recipe)}")
        return 0
    recipe, data_root = _recipe_of(options, split.overrides)
    out = options.out or _free_folder(recipe)
    command = shlex.join(["batchot", "train", *argv])

    def work() -> int:
        from batchot.training.run import Messages, train

        print(f"run folder: {out}")
        messages = Messages(note=_say, epoch=_epoch_line(recipe), bar=sys.stdout.isatty())
        run = train(
            recipe,
            out,
            data_root=data_root,
            device=options.device,
            resume=options.resume,
            command=command,
            messages=messages,
        )
        _report(run)
        return 0

    return _guarded(work, f"go on with: batchot train --resume --out {shlex.quote(str(out))}")


def _recipe_of(options: argparse.Namespace, overrides: list[tuple[str, str]]) -> tuple[Recipe, Path | None]:
    if options.resume and options.out is None:
        raise _UsageError("--resume needs --out: which run is to go on?")
    if options.recipe is not None:
        return load_recipe(options.recipe, overrides), options.data_root or _data_root(options.out)
    if not options.resume:
        raise _UsageError(f"which recipe? There are {', '.join(recipe_names())}")
    config = options.out / "config.yaml"
    if not config.is_file():
        raise _UsageError(f"--resume: there is no run in {options.out}")
    return load_recipe(str(config), overrides), options.data_root or _data_root(options.out)


def _data_root(run: Path | None) -> Path | None:
    """Give the folder of data that a run was started with."""
    import yaml

    if run is None or not (run / "config.yaml").is_file():
        return None
    try:
        started = yaml.safe_load((run / "config.yaml").read_text())["run"]["data_root"]
    except (yaml.YAMLError, KeyError, TypeError):
        return None
    return None if started is None else Path(started)


def _free_folder(recipe: Recipe) -> Path:
    base = f"{recipe.name}-{recipe.loss.name}-seed{recipe.seed}"
    folder, number = Path("runs") / base, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{base}-{number}"
    return folder


def _guarded(work: Callable[[], int], resume: str = "") -> int:
    """Turn the errors that a user can mend into one message."""
    from batchot.data import DataError
    from batchot.training.callbacks import RunInterrupted
    from batchot.training.files import RunError

    try:
        return work()
    except (DataError, RunError) as error:
        return _fail(str(error), FAILURE)
    except RunInterrupted:
        return _fail(f"interrupted; {resume}", INTERRUPTED)
    except KeyboardInterrupt:
        return _fail(f"stopped at once; {resume}" if resume else "interrupted", INTERRUPTED)
    except OSError as error:
        return _fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), FAILURE)


def _say(text: str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode():
        print(text, flush=True)


def _epoch_line(recipe: Recipe) -> Callable[[Row], None]:
    def tell(row: Row) -> None:
        parts = [f"epoch {row.epoch}/{recipe.epochs}", f"loss {row.loss:.4f}"]
        if row.map is not None and row.nn is not None and row.accuracy is not None:
            parts += [f"mAP {100 * row.map:.2f}", f"NN {100 * row.nn:.2f}"]
            parts += [f"accuracy {100 * row.accuracy:.2f} ({row.accuracy_by})"]
        _say("  ".join([*parts, f"{row.seconds:.0f} s of training"]))

    return tell


def _report(run: TrainedRun) -> None:
    from batchot.reporting import write_report

    last = run.rows[-1]
    write_report(run)
    print(f"\n{run.folder.metrics}: {_in_words(last)}")
    print(f"curves, embedding and nearest neighbours: {run.folder.figures}\nreport: {run.folder.report}")


def _in_words(row: Any) -> str:
    measures = ("map", "nn", "ft", "st", "e", "dcg")
    names = {"map": "mAP"}
    text = ", ".join(f"{names.get(m, m.upper())} {100 * getattr(row, m):.2f}" for m in measures)
    return f"{text} %; accuracy {100 * row.accuracy:.2f} % ({row.accuracy_by})"


def _evaluate(argv: list[str]) -> int:
    parser = _Parser(
        prog="batchot evaluate", description="Measure a trained run on the test images.", allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of batchot train")
    parser.add_argument("--data-root", type=Path, help="where the data lies (default: as in training)")
    parser.add_argument("--checkpoint", choices=("last", "best"), default="last", help="default: last")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if any"
    )
    options = parser.parse_args(argv)

    def work() -> int:
        from batchot.training.evaluate import evaluate

        for name, value in evaluate(
            options.run,
            data_root=options.data_root or _data_root(options.run),
            device=options.device,
            checkpoint=options.checkpoint,
        ):
            print(f"{name:28} {value}")
        return 0

    return _guarded(work)


if __name__ == "__main__":
    sys.exit(main())
