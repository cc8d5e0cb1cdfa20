"""What every generated shape is made with: random choices, its parts, and the faults of meshes from the web."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Option = TypeVar("Option")


class Dice:
    """Choices that follow from a key alone."""

    def __init__(self, *key: str | int) -> None:
        self._random = random.Random("/".join(str(part) for part in key))

    def between(self, low: float, high: float) -> float:
        """A number uniform over ``low .. high``."""
        return low + (high - low) * self._random.random()

    def whole(self, low: int, high: int) -> int:
        """A whole number uniform over ``low .. high``, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def pick(self, *options: Option) -> Option:
        """One of the options, each as likely as the next; name one twice to make it twice as likely."""
        return options[int(self._random.random() * len(options))]


Axis = Literal["x", "y", "z"]
_AXES: tuple[Axis, ...] = ("x", "y", "z")


class Part(NamedTuple):
    """A triangle mesh of its own, faces counter-clockwise seen from outside."""

    vertices: NDArray[np.float64]  # float64, shape ``(n, 3)``, metres
    faces: NDArray[np.int64]  # int64, shape ``(m, 3)``

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        """The part shifted by ``(x, y, z)``."""
        return Part(self.vertices + np.array([x, y, z]), self.faces)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Part:
        """The part stretched by positive factors along the axes."""
        return Part(self.vertices * np.array([x, y, z]), self.faces)

    def turned(self, axis: Axis, angle: float, about: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Part:
        """The part turned by ``angle`` radians, right-handed, about an axis through ``about``."""
        i = _AXES.index(axis)
        j, k = (i + 1) % 3, (i + 2) % 3
        turn = np.eye(3)
        turn[j, j] = turn[k, k] = math.cos(angle)
        turn[k, j] = math.sin(angle)
        turn[j, k] = -math.sin(angle)
        centre = np.array(about)
        return Part((self.vertices - centre) @ turn.T + centre, self.faces)

    def mirrored(self, axis: Axis) -> Part:
        """The mirror image in the plane through the origin across ``axis``, outside still outside."""
        factors = np.ones(3)
        factors[_AXES.index(axis)] = -1.0
        return Part(self.vertices * factors, self.faces[:, ::-1])


def turn_all(
    parts: Iterable[Part], axis: Axis, angle: float, about: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> list[Part]:
    """Every part turned by ``angle`` radians about the same axis."""
    return [part.turned(axis, angle, about) for part in parts]


def move_all(parts: Iterable[Part], x: float = 0.0, y: float = 0.0, z: float = 0.0) -> list[Part]:
    """Every part shifted by ``(x, y, z)``."""
    return [part.moved(x, y, z) for part in parts]


def with_mirror(parts: Iterable[Part], axis: Axis = "x") -> list[Part]:
    """The parts and their mirror images across ``axis``."""
    kept = list(parts)
    return kept + [part.mirrored(axis) for part in kept]


def join(parts: Iterable[Part]) -> Part:
    """All parts as one, vertices numbered on."""
    kept = list(parts)
    starts = np.cumsum([0] + [len(part.vertices) for part in kept[:-1]])
    return Part(
        np.concatenate([part.vertices for part in kept]),
        np.concatenate([part.faces + start for part, start in zip(kept, starts, strict=True)]),
    )


def spoil(dice: Dice, parts: list[Part]) -> list[Part]:
    """A small share of shapes with turned faces, faces twice, missing faces or corners of their own."""
    if dice.chance(0.15):  # one part inside out
        i = dice.whole(0, len(parts) - 1)
        parts = [*parts[:i], Part(parts[i].vertices, parts[i].faces[:, ::-1]), *parts[i + 1 :]]
    if dice.chance(0.04):  # all of it inside out
        parts = [Part(part.vertices, part.faces[:, ::-1]) for part in parts]
    if dice.chance(0.08):  # one part there twice
        parts = [*parts, dice.pick(*parts)]
    whole = join(parts)
    if dice.chance(0.05) and len(whole.faces) > 100:  # holes: one face in fifty
        whole = Part(whole.vertices, whole.faces[np.arange(len(whole.faces)) % 50 != dice.whole(0, 49)])
    if dice.chance(0.08):  # a triangle soup
        corners = whole.vertices[whole.faces].reshape(-1, 3)
        whole = Part(corners, np.arange(len(corners)).reshape(-1, 3))
    return [whole]
