"""Options and folders that the commands about views share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from batchot.commands.common import UsageError

if TYPE_CHECKING:
    from batchot.shapes.view_settings import ViewSettings


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Add what determines the pixels of views."""
    parser.add_argument("--cameras", default="circle-12", help="circle-12 (default), dodecahedron-20, box-6")
    parser.add_argument("--size", type=int, default=224, help="height and width in pixels (224)")
    parser.add_argument(
        "--channels", default="shaded", help="one or more of shaded,depth,silhouette,lines (shaded)"
    )
    parser.add_argument("--antialias", type=int, default=2, help="samples a pixel in each direction (2)")
    parser.add_argument(
        "--up",
        choices=("auto", "z", "y"),
        default="auto",
        help="the axis that points up (what the format says)",
    )


def view_settings_of(options: argparse.Namespace) -> ViewSettings:
    """Give the settings of those options."""
    from batchot.shapes.view_settings import ViewSettings

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
