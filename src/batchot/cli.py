"""The command ``batchot``; what is slow to import is imported once the arguments are known to be right."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from batchot.commands.common import FAILURE, INTERRUPTED, USAGE_ERROR, Parser, UsageError, fail, guarded
from batchot.errors import MissingExtraError, extras_named
from batchot.named import import_own
from batchot.training.recipe import RecipeError
from batchot.training.settings import suggestion

COMMANDS = {
    "train": "train RECIPE   train by a recipe and fill a run folder",
    "evaluate": "evaluate RUN   measure a trained run",
    "embed": "embed RUN PATH embed images or shapes with a trained run",
    "index": "index ACTION   make an index of shapes, change it, describe it",
    "search": "search INDEX Q look up what is like a shape or a drawing",
    "serve": "serve INDEX    search in a web page, by drawing",
    "export": "export RUN     write a trained network as ONNX and safetensors",
    "report": "report RUN     make the report of a run again",
    "compare": "compare RECIPE train with one loss after another, at equal terms",
    "reproduce": "reproduce      the paper's benchmarks: its figures, ours, how to run them",
    "render": "render PATH    draw the views of shapes",
    "audit": "audit PATH     test views for leaks of the class",
    "recipes": "recipes        list the recipes",
}

__all__ = ["FAILURE", "INTERRUPTED", "USAGE_ERROR", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    own: list[str] = []
    while len(argv) > 1 and argv[0] == "--import":
        own.append(argv[1])
        argv = argv[2:]
    warnings.formatwarning = _in_a_line
    try:
        for module in own:
            try:
                import_own(module)
            except ValueError as error:
                raise UsageError(f"--import {error}") from error
        if argv and argv[0] in COMMANDS:
            with extras_named():
                command = getattr(import_module(f"batchot.commands.{argv[0]}"), argv[0])
            return guarded(lambda: int(command(argv[1:])))
        if argv and not argv[0].startswith("-"):
            names = list(COMMANDS)
            closest = suggestion(argv[0], names)
            raise UsageError(f"unknown command {argv[0]!r}; there are {', '.join(names)}{closest}")
        return _top(argv)
    except (UsageError, RecipeError) as error:
        return fail(str(error), USAGE_ERROR)
    except MissingExtraError as error:
        return fail(str(error), FAILURE)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        return 0


def _in_a_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Show a warning as the sentence that it is, without the line of code that it came from."""
    return f"batchot: {message}\n"


def _top(argv: list[str]) -> int:
    parser = Parser(
        prog="batchot",
        description="Deep metric learning with a batch-wise optimal transport loss.",
        usage="batchot COMMAND ...",
        epilog="commands:\n"
        + "\n".join(f"  {line}" for line in COMMANDS.values())
        + "\n\nbatchot COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--import",
        metavar="MODULE",
        help="before the command: import a module whose network, loss or data a run names as MODULE:NAME",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    if parser.parse_args(argv).version:
        from batchot import __version__

        print(f"batchot {__version__}")
        return 0
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
