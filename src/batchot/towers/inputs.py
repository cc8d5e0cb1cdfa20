"""How shapes and drawings are made ready for a network, as JSON can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchot.errors import SearchError

if TYPE_CHECKING:
    from batchot.data.cloud_reading import CloudSettings
    from batchot.shapes.shape import Up
    from batchot.shapes.views.settings import ViewSettings


@dataclass(frozen=True)
class ViewsInput:
    """Rendered views, uint8, (v, c, h, w)."""

    settings: ViewSettings  # from where and how a shape is seen; its cameras are those of a name

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
    """Points of the surface, float32, (p, 3): centred, in the unit sphere, z up."""

    settings: CloudSettings  # how many points, and which

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
    """Dark strokes on white, uint8, (1, size, size)."""

    size: int  # height and width in pixels

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return (1, self.size, self.size)


@dataclass(frozen=True)
class PhotoInput:
    """A photo of an object, uint8, (3, size, size)."""

    size: int  # height and width in pixels

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return (3, self.size, self.size)


@dataclass(frozen=True)
class Inputs:
    """How queries and shapes are made ready."""

    shape: ViewsInput | CloudInput  # as what the network sees a shape
    drawing: DrawingInput | None = None  # as what it sees a drawing; None: it takes no drawings
    photo: PhotoInput | None = None  # as what a photo is compared with the views; None: it is not

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
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
        photo = {} if self.photo is None else {"photo": {"size": self.photo.size}}
        return {
            "shape": shape,
            "drawing": None if self.drawing is None else {"size": self.drawing.size},
            **photo,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Inputs:
        """Read what `to_json` gave."""
        from batchot.data.cloud_reading import CloudSettings
        from batchot.shapes.views.settings import ViewSettings

        try:
            shape, drawing, photo = dict(values["shape"]), values["drawing"], values.get("photo")
            made: ViewsInput | CloudInput
            if "points" in shape:
                made = CloudInput(CloudSettings(**shape))
            else:
                made = ViewsInput(ViewSettings(**{**shape, "channels": tuple(shape["channels"])}))
            return cls(
                made,
                None if drawing is None else DrawingInput(int(drawing["size"])),
                None if photo is None else PhotoInput(int(photo["size"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(f"the description of what the network takes is damaged ({error})") from error
