"""What the commands share: their parser, their errors and exit statuses, their messages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130


class UsageError(Exception):
    """The command line is wrong."""


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def fail(message: str, status: int) -> int:
    """Print an error and give the exit status."""
    print(f"batchot: {_shown(message)}", file=sys.stderr)
    return status


def _shown(text: str) -> str:
    # names of files may hold what a terminal would obey
    from batchot.search.errors import printable

    return "\n".join(printable(line) for line in text.split("\n"))


def say(text: str) -> None:
    """Print a line above a progress bar, if there is one."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        print(_shown(text), flush=True)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if any"
    )


def add_allow_store(parser: argparse.ArgumentParser) -> None:
    """Add --allow-store."""
    parser.add_argument(
        "--allow-store",
        action="store_true",
        help="ask the store that the index names (s3://, az://, hf://) with the keys of the environment; only "
        "for an index that you trust",
    )


def data_root_of(run: Path | None) -> Path | None:
    """Give the folder of data that a run was started with."""
    import yaml

    if run is None or not (run / "config.yaml").is_file():
        return None
    try:
        started = yaml.safe_load((run / "config.yaml").read_text())["run"]["data_root"]
    except (yaml.YAMLError, KeyError, TypeError):
        return None
    return None if started is None else Path(started)


def guarded(work: Callable[[], int], resume: str = "") -> int:
    """Turn the errors that a user can mend into one message."""
    from batchot.data.errors import DataError
    from batchot.engine.engine import EngineError
    from batchot.export.errors import ExportError
    from batchot.search.errors import SearchError
    from batchot.shapes.atomic import ViewCacheError
    from batchot.shapes.errors import ShapeError
    from batchot.shapes.extra import extras_named
    from batchot.training.files import RunError, RunInterrupted

    try:
        with extras_named():
            return work()
    except (
        DataError,
        EngineError,
        ExportError,
        RunError,
        SearchError,
        ShapeError,
        ViewCacheError,
        ImportError,
    ) as error:
        return fail(str(error), FAILURE)
    except RunInterrupted:
        return fail(f"interrupted; {resume}", INTERRUPTED)
    except KeyboardInterrupt:
        return fail(f"stopped at once; {resume}" if resume else "interrupted", INTERRUPTED)
    except OSError as error:
        return fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), FAILURE)


def recipe_named(recipe: str, data_root: Path | None) -> str:
    """Give the recipe that "folder" stands for: for shapes, shards or images, by what lies there."""
    if recipe != "folder":
        return recipe
    from batchot.data.folder_kind import folder_kind

    if data_root is None:
        raise UsageError(
            "folder: give --data-root, a folder with CLASS/FILE, or train/CLASS/FILE and test/CLASS/FILE"
        )
    if not data_root.is_dir():
        raise UsageError(f"folder: --data-root {data_root} is not a folder")
    if (data_root / "shards.json").is_file():
        return "shards"
    kind = folder_kind(data_root)
    if kind is None:
        raise UsageError(f"folder: {data_root} holds neither shapes nor images whose ending is known")
    return f"{kind}-folder"
