"""The options that say where a command does its work."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchot.commands.common import UsageError, say

if TYPE_CHECKING:
    from batchot.engine.engine import Engine


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add --engine, --workers and --ray-address."""
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine (default), or the workers of a Ray cluster",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="of --engine ray (one a CPU of the cluster)")
    parser.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="head of a Ray cluster that is there (default: $RAY_ADDRESS, else workers on this machine)",
    )


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
    """Give the engine that the options ask for, None for this machine; it is ended afterwards.

    Raises:
        EngineError: it is not to be had
    """
    if options.engine == "local":
        yield None
        return
    from batchot.engine.ray_engine import ray_engine
    from batchot.shapes.render_many import usable_cores

    address = options.ray_address or os.environ.get("RAY_ADDRESS") or None
    address = None if address == "local" else address
    with ray_engine(address, options.workers, cores=usable_cores(), tell=say) as engine:
        place = "this machine" if address is None else f"the cluster at {address}"
        say(f"{engine.workers} Ray workers on {place}")
        yield engine
