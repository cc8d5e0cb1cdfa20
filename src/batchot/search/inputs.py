"""What the network of an index takes: how shapes and drawings are made ready for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchot.search.errors import SearchError

if TYPE_CHECKING:
    from batchot.data.cloud_reading import CloudSettings
    from batchot.shapes.shape import Up
    from batchot.shapes.view_settings import ViewSettings


@dataclass(frozen=True)
class ViewsInput:
    """Rendered views, uint8, (v, c, h, w).

    Args:
        settings: from where and how a shape is seen; its cameras are those of a name
    """

    settings: ViewSettings

    @property
    def up(self) -> Up:
        """The axis of files that points up, "auto" where each says its own."""
        return self.settings.up

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Views, channels, height and width."""
        return self.settings.view_shape


@dataclass(frozen=True)
class CloudInput:
    """Points of the surface, float32, (p, 3): centred, in the unit sphere, z up.

    Args:
        settings: how many points, and which
    """

    settings: CloudSettings

    @property
    def up(self) -> Up:
        """The axis of files that points up, "auto" where each says its own."""
        return self.settings.up

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Points, and 3."""
        return (self.settings.points, 3)


@dataclass(frozen=True)
class DrawingInput:
    """Dark strokes on white, uint8, (1, size, size).

    Args:
        size: height and width in pixels
    """

    size: int

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return (1, self.size, self.size)


@dataclass(frozen=True)
class Inputs:
    """How queries and shapes are made ready.

    Args:
        shape: as what the network sees a shape
        drawing: as what it sees a drawing; None: it takes no drawings

    >>> inputs = Inputs.from_json({"shape": {"points": 64}, "drawing": {"size": 32}})
    >>> inputs.shape.sample_shape, inputs.drawing.sample_shape
    ((64, 3), (1, 32, 32))
    >>> Inputs.from_json(inputs.to_json()).to_json() == inputs.to_json()
    True
    """

    shape: ViewsInput | CloudInput
    drawing: DrawingInput | None = None

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold.

        Raises:
            SearchError: the cameras have no name
        """
        settings = self.shape.settings
        if isinstance(self.shape, ViewsInput):
            views = self.shape.settings
            if not isinstance(views.cameras, str):
                raise SearchError("cameras without a name cannot be stored; train with a set that has one")
            shape: dict[str, Any] = {
                "cameras": views.cameras,
                "size": views.size,
                "channels": list(views.channels),
                "antialias": views.antialias,
                "background": views.background,
                "up": views.up,
                "fit": views.fit,
            }
        else:
            clouds = self.shape.settings
            shape = {
                "points": clouds.points,
                "choice": clouds.choice,
                "too_few": clouds.too_few,
                "up": settings.up,
                "seed": clouds.seed,
            }
        return {"shape": shape, "drawing": None if self.drawing is None else {"size": self.drawing.size}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Inputs:
        """Read what `to_json` gave.

        Raises:
            SearchError: it is damaged, or of another version
        """
        from batchot.data.cloud_reading import CloudSettings
        from batchot.shapes.view_settings import ViewSettings

        try:
            shape, drawing = dict(values["shape"]), values["drawing"]
            made: ViewsInput | CloudInput
            if "points" in shape:
                made = CloudInput(CloudSettings(**shape))
            else:
                made = ViewsInput(ViewSettings(**{**shape, "channels": tuple(shape["channels"])}))
            return cls(made, None if drawing is None else DrawingInput(int(drawing["size"])))
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(f"the description of what the network takes is damaged ({error})") from error
