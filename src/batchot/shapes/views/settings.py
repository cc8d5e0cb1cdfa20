"""Everything that determines the pixels of the views of a shape."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from batchot.shapes.render.cameras import Cameras, make_cameras

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from batchot.shapes.render.render import Channel
    from batchot.shapes.shape import Shape, Up
    from batchot.shapes.source import ShapeSource

RENDERER_VERSION = 2
"""Raised by one whenever reading, normalising or rendering gives other pixels than before."""


@dataclass(frozen=True, eq=False)
class ViewSettings:
    """From where and how shapes are seen."""

    cameras: str | Cameras = "circle-12"  # a name of ``make_cameras`` or any cameras
    size: int = 224  # height and width of a view, pixels
    channels: tuple[Channel, ...] = ("shaded",)  # what is drawn, each in a channel of its own
    antialias: int = 2  # each pixel is the mean of this many by this many
    background: int = 255  # grey behind a shaded shape, 0 to 255
    up: Up = "auto"  # the axis of the files that points up
    # share of a view that stays free around the shape, which fills the rest; ``None``: the shape is as large as the
    # cameras show it. See ``render_views``
    fit: float | None = None

    def __post_init__(self) -> None:
        from batchot.shapes.render.cameras import check_fit
        from batchot.shapes.render.render import check_options

        object.__setattr__(self, "channels", tuple(self.channels))
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"channels must be one or more, each once, got {self.channels!r}")
        check_options(self.size, self.channels, self.antialias, self.background)
        if self.up not in ("auto", "z", "y"):
            raise ValueError(f"up must be auto, z or y, got {self.up!r}")
        # an unknown name is an error here, not when the first shape is drawn
        check_fit(self.fit, self.placed)

    @cached_property
    def placed(self) -> Cameras:
        """The cameras."""
        return make_cameras(self.cameras) if isinstance(self.cameras, str) else self.cameras

    @property
    def view_shape(self) -> tuple[int, int, int, int]:
        """Views, channels, height and width of what is drawn of one shape."""
        return len(self.placed.rotations), len(self.channels), self.size, self.size

    @cached_property
    def description(self) -> dict[str, Any]:
        """All that determines the pixels, ready for JSON."""
        # Rounded, because the last bits of a sine differ between machines and no pixel depends on them.
        described = {
            "renderer_version": RENDERER_VERSION,
            "rotations": (self.placed.rotations.round(9) + 0.0).tolist(),
            "distance": f"{self.placed.distance:.9g}",
            "extent": f"{self.placed.extent:.9g}",
            "size": self.size,
            "channels": list(self.channels),
            "antialias": self.antialias,
            "background": self.background,
            "up": self.up,
        }
        # Only where it is asked for, so that views that are in caches already keep their names.
        return described if self.fit is None else {**described, "fit": f"{self.fit:.9g}"}

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that differ whenever the pixels may."""
        return hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:16]


def render_source(source: ShapeSource, settings: ViewSettings) -> NDArray[np.uint8]:
    """The views of one shape, drawn anew."""
    return render_shape(source.load(settings.up), settings)


def render_shape(shape: Shape, settings: ViewSettings) -> NDArray[np.uint8]:
    """The views, shape ``(v, c, h, w)``, of a shape that is upright and in the unit sphere already."""
    from batchot.shapes.render.render import render_views

    return render_views(
        shape,
        settings.placed,
        size=settings.size,
        channels=settings.channels,
        antialias=settings.antialias,
        background=settings.background,
        fit=settings.fit,
    )
