"""What the commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from batchot import errors
from batchot.files import ViewCacheError
from batchot.workers.pool import Engine, EngineError

if TYPE_CHECKING:
    from batchot.shapes.views.settings import ViewSettings

USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130
_USER_ERRORS = (
    *(errors.DataError, errors.ExportError, errors.RunError, errors.SearchError, errors.ShapeError),
    *(EngineError, ViewCacheError, ImportError),
)


class UsageError(Exception):
    """The command line is wrong."""


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` instead of ending the process, and takes no abbreviations."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def fail(message: str, status: int) -> int:
    """Print an error and give the exit status."""
    print(f"batchot: {_shown(message)}", file=sys.stderr)
    return status


def _shown(text: str) -> str:
    # names of files may hold what a terminal would obey
    from batchot.search.records import printable

    return "\n".join(printable(line) for line in text.split("\n"))


def say(text: str) -> None:
    """Print a line above a progress bar, if there is one."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        print(_shown(text), flush=True)


_SHARED: dict[str, dict[str, Any]] = {
    "run": {"type": Path, "metavar": "RUN", "help": "run folder of batchot train"},
    "index": {"type": Path, "metavar": "INDEX", "help": "folder of the index"},
    "--device": {"choices": ("auto", "cpu", "cuda"), "default": "auto", "help": "default: a GPU if any"},
    "--data-root": {"type": Path, "help": "where the data lies (default: $BATCHOT_DATA, else downloads)"},
    "--checkpoint": {"choices": ("last", "best"), "default": "last", "help": "default: last"},
    "--up": {
        "choices": ("auto", "z", "y"),
        "default": "auto",
        "help": "the axis that points up (what the format says)",
    },
    "--processes": {"type": int, "metavar": "N", "help": "that read and draw (one a core)"},
    "--model": {"type": Path, "metavar": "DIR", "help": "run or exported model to embed with (the index's)"},
    "--store": {"metavar": "URI", "help": "address of the store, where it has moved"},
    "--allow-store": {
        "action": "store_true",
        "help": "ask the store that the index names (s3://, az://, hf://) with the keys of the environment; only "
        "for an index that you trust",
    },
    "--engine": {
        "choices": ("local", "ray"),
        "default": "local",
        "help": "processes of this machine (default), or the workers of a Ray cluster",
    },
    "--workers": {"type": int, "metavar": "N", "help": "of --engine ray (one a CPU of the cluster)"},
    "--ray-address": {
        "metavar": "HOST:PORT",
        "help": "head of a Ray cluster that is there (default: $RAY_ADDRESS, else workers on this machine)",
    },
    # what determines the pixels of views
    "--cameras": {"default": "circle-12", "help": "circle-12 (default), dodecahedron-20, box-6"},
    "--size": {"type": int, "default": 224, "help": "height and width in pixels (224)"},
    "--channels": {"default": "shaded", "help": "one or more of shaded,depth,silhouette,lines (shaded)"},
    "--antialias": {"type": int, "default": 2, "help": "samples a pixel in each direction (2)"},
    "--parts": {
        "action": argparse.BooleanOptionalAction,
        "help": "each part of a STEP assembly is a shape of its own (what the folder has in the index, else no)",
    },
    "--tolerance": {
        "type": float,
        "metavar": "T",
        "help": "of the triangles of STEP and IGES files: distance from their surface, as a part of the length of the "
        "edges around it (0.001)",
    },
}
ENGINE = ("--engine", "--workers", "--ray-address")
VIEWS = ("--cameras", "--size", "--channels", "--antialias", "--up")


def add(parser: argparse._ActionsContainer, *names: str, **otherwise: Any) -> None:
    """Add arguments that several commands take, with what is otherwise here."""
    for name in names:
        parser.add_argument(name, **{**_SHARED[name], **otherwise})


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
    try:
        with errors.extras_named():
            return work()
    except _USER_ERRORS as error:
        return fail(str(error), FAILURE)
    except errors.RunInterrupted:
        return fail(f"interrupted; {resume}", INTERRUPTED)
    except KeyboardInterrupt:
        return fail(f"stopped at once; {resume}" if resume else "interrupted", INTERRUPTED)
    except BrokenPipeError:
        raise
    except OSError as error:
        return fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), FAILURE)


def recipe_named(recipe: str, data_root: Path | None) -> str:
    """Give the recipe that "folder" stands for: for shapes, shards or images, by what lies there."""
    if recipe != "folder":
        return recipe
    from batchot.data.sets.shape_folder import folder_kind

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


def check_engine(options: argparse.Namespace) -> None:
    """Refuse options that the chosen engine would not look at."""
    ray = options.engine == "ray"
    for name in ("workers", "ray_address"):
        if not ray and getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for --engine ray")
    if ray and getattr(options, "processes", None) is not None:
        raise UsageError("--processes is for --engine local; give --workers")
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {options.workers}")


@contextmanager
def engine_of(options: argparse.Namespace) -> Iterator[Engine | None]:
    """Give the engine that the options ask for, None for this machine; it is ended afterwards."""
    if options.engine == "local":
        yield None
        return
    from batchot.workers.process import usable_cores
    from batchot.workers.ray import ray_engine

    address = options.ray_address or os.environ.get("RAY_ADDRESS") or None
    address = None if address == "local" else address
    with ray_engine(address, options.workers, cores=usable_cores(), tell=say) as engine:
        place = "this machine" if address is None else f"the cluster at {address}"
        say(f"{engine.workers} Ray workers on {place}")
        yield engine


def checked_tolerance(options: argparse.Namespace) -> float | None:
    from batchot.shapes.formats.cad import CadSettings

    try:
        CadSettings.of(options.tolerance)
    except ValueError as error:
        raise UsageError(f"--tolerance: {error}") from error
    return None if options.tolerance is None else float(options.tolerance)


def view_settings_of(options: argparse.Namespace) -> ViewSettings:
    from batchot.shapes.views.settings import ViewSettings

    try:
        return ViewSettings(
            cameras=options.cameras,
            size=options.size,
            channels=tuple(options.channels.split(",")),
            antialias=options.antialias,
            up=options.up,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
