"""Faults that meshes from the web have, put into a few shapes on purpose."""

from __future__ import annotations

import numpy as np

from batchot.shapes.library.dice import Dice
from batchot.shapes.library.part import Part, join


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
