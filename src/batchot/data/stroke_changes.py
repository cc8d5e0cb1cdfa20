"""Strokes of drawings made thicker, thinner or broken: plain tensor code on whole batches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LIGHTEST = 0.35
"""Share of its ink that a stroke keeps, however much thinner it is made."""


def widen_strokes(ink: Tensor, by: Tensor) -> Tensor:
    """Strokes made wider, or with a negative number narrower, by parts of a pixel.

    A whole step is the largest (smallest) value of a pixel and its four neighbours, which moves each edge of a
    stroke by a pixel; between two steps ink is interpolated. A stroke that is only a pixel wide has no narrower
    form and becomes lighter, but keeps ``LIGHTEST`` of its ink.

    Args:
        ink: 0 where there is paper, larger where it is darker, float, shape ``(b, c, h, w)``.
        by: change of the width of each drawing's strokes, pixels, shape ``(b,)``.

    Returns:
        Ink of the same shape.

    Example:
        >>> import torch
        >>> from batchot.data.stroke_changes import widen_strokes
        >>> ink = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]).expand(2, 1, 5, 5)
        >>> widen_strokes(ink, torch.tensor([1.0, -1.0]))[:, 0, 2].tolist()
        [[0.0, 0.5, 1.0, 0.5, 0.0], [0.0, 0.0, 0.5, 0.0, 0.0]]
    """
    steps = (by / 2).view(-1, 1, 1, 1)  # a step moves both edges
    last = math.ceil(float(steps.abs().max()))
    wide = narrow = changed = ink
    for k in range(last):
        wide, narrow = _of_neighbours(wide, largest=True), _of_neighbours(narrow, largest=False)
        changed = torch.lerp(changed, torch.where(steps > 0, wide, narrow), (steps.abs() - k).clamp(0, 1))
    return torch.maximum(changed, LIGHTEST * ink)


def break_strokes(ink: Tensor, generator: torch.Generator, *, most: int, diameter: float) -> Tensor:
    """Holes torn into strokes.

    Each drawing has up to ``most`` holes, each number as likely; their centres lie where there is ink.

    Args:
        ink: 0 where there is paper, larger where it is darker, float, shape ``(b, c, h, w)``.
        generator: CPU random number generator.
        most: number of holes.
        diameter: of a hole, pixels.

    Returns:
        Ink of the same shape.

    Example:
        >>> import torch
        >>> from batchot.data.stroke_changes import break_strokes
        >>> ink = torch.ones(1, 1, 1, 8)
        >>> break_strokes(ink, torch.Generator().manual_seed(0), most=1, diameter=3.0).flatten().tolist()
        [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """
    b, _, h, w = ink.shape
    if most == 0 or b == 0:
        return ink
    # A place is drawn with the ink there as its weight: where a uniform share of all ink has been passed.
    passed = ink.sum(1).flatten(1).cumsum(1)  # (b, h w)
    share = torch.rand(b, most, generator=generator).to(ink.device)
    at = torch.searchsorted(passed, share * passed[:, -1:], right=True).clamp(max=h * w - 1)  # (b, most)
    drawn = torch.randint(0, most + 1, (b, 1), generator=generator)
    torn = (torch.arange(most) < drawn).to(ink.device)  # (b, most)
    reach = int(diameter / 2)
    step = torch.arange(-reach, reach + 1, device=ink.device)
    down, right = (offset.flatten() for offset in torch.meshgrid(step, step, indexing="ij"))
    inside = down.square() + right.square() <= (diameter / 2) ** 2
    rows = ((at // w)[:, :, None] + down[inside]).clamp(0, h - 1)
    columns = ((at % w)[:, :, None] + right[inside]).clamp(0, w - 1)
    image, hole, place = torn[:, :, None].expand(rows.shape).nonzero(as_tuple=True)
    broken = ink.clone()
    broken.permute(0, 2, 3, 1)[image, rows[image, hole, place], columns[image, hole, place]] = 0
    return broken


def _of_neighbours(ink: Tensor, *, largest: bool) -> Tensor:
    """The largest, or smallest, of each pixel and the four beside, above and below it; the border stays."""
    choose = torch.maximum if largest else torch.minimum
    result = ink.clone()
    for axis in (2, 3):
        length = ink.shape[axis]
        first, last = ink.narrow(axis, 0, length - 1), ink.narrow(axis, 1, length - 1)
        for target, other in ((0, last), (1, first)):
            part = result.narrow(axis, target, length - 1)
            part.copy_(choose(part, other))
    return result
