"""From the name of a class and a seed to a mesh."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from batchot.errors import ShapeError
from batchot.shapes.library import (
    aircraft,
    beds,
    building,
    lights,
    music,
    road,
    screens,
    seating,
    storage,
    tables,
    trucks,
    upholstery,
    vessels,
)
from batchot.shapes.library.dice import Dice
from batchot.shapes.library.mess import spoil
from batchot.shapes.library.part import Part, join
from batchot.shapes.shape import Mesh

GENERATOR_VERSION = 1
"""Raised whenever a shape of some class and seed changes, so that libraries on disk are written anew."""

_MAKERS: MappingProxyType[str, Callable[[Dice], list[Part]]] = MappingProxyType(
    {
        "airplane": aircraft.airplane,
        "armchair": upholstery.armchair,
        "bed": beds.bed,
        "bench": seating.bench,
        "bookshelf": storage.bookshelf,
        "bottle": vessels.bottle,
        "bowl": vessels.bowl,
        "car": road.car,
        "chair": seating.chair,
        "cup": vessels.cup,
        "desk": tables.desk,
        "desk_lamp": lights.desk_lamp,
        "door": building.door,
        "floor_lamp": lights.floor_lamp,
        "guitar": music.guitar,
        "laptop": screens.laptop,
        "monitor": screens.monitor,
        "sofa": upholstery.sofa,
        "stairs": building.stairs,
        "stool": seating.stool,
        "table": tables.table,
        "truck": trucks.truck,
        "vase": vessels.vase,
        "violin": music.violin,
        "wardrobe": storage.wardrobe,
    }
)

CLASS_NAMES: tuple[str, ...] = tuple(_MAKERS)
"""The classes of the built-in library, in alphabetical order."""


def check_class(class_name: str) -> None:
    """Raise :class:`ShapeError` with the nearest name if the library has no such class."""
    if class_name in _MAKERS:
        return
    near = difflib.get_close_matches(class_name.lower(), CLASS_NAMES, 1, 0.0)[0]
    raise ShapeError(
        f"the built-in library has no class {class_name!r}; did you mean {near!r}? "
        f"Its classes are {', '.join(CLASS_NAMES)}"
    )


def generate_shape(class_name: str, seed: int) -> Mesh:
    """A man-made thing of a class, made up from a seed: z up, on the floor z = 0, front towards -y.

    The same class and seed give the same mesh, bit for bit, on every machine.

    Args:
        class_name: one of :data:`CLASS_NAMES`.
        seed: whole number; each gives another shape.

    Returns:
        Triangle mesh, about metres, not normalised.

    Raises:
        ShapeError: on a class that the library does not have; the message names the nearest.

    Example:
        >>> from batchot.shapes.library import generate_shape
        >>> mesh = generate_shape("chair", seed=7)
        >>> float(mesh.vertices[:, 2].min())
        0.0
    """
    check_class(class_name)
    dice = Dice(class_name, seed)
    parts = _MAKERS[class_name](dice)
    whole = join(spoil(dice, parts))
    stretch = [dice.between(0.8, 1.25) for _ in range(3)]
    vertices = whole.vertices * np.array(stretch)
    vertices[:, 2] -= vertices[:, 2].min()
    # Machines differ in the last bit of a sine; on a grid of a micrometre they do not.
    vertices = np.round(vertices, 6) + 0.0
    corners = vertices[whole.faces]
    flat = (corners == np.roll(corners, 1, axis=1)).all(axis=2).any(axis=1)
    return Mesh(vertices, whole.faces[~flat])
