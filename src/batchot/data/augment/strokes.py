"""Changes of strokes, and unfinished drawings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from batchot.data.augment.pen import uniform
from batchot.data.samples import Images, Samples
from batchot.data.sets.sketch_image import canonical

LIGHTEST = 0.35
"""Share of its ink that a stroke keeps, however much thinner it is made."""


def widen_strokes(ink: Tensor, by: Tensor) -> Tensor:
    """Strokes made wider, or with a negative number narrower, by parts of a pixel."""
    steps = (by / 2).view(-1, 1, 1, 1)  # a step moves both edges
    last = math.ceil(float(steps.abs().max()))
    wide = narrow = changed = ink
    for k in range(last):
        wide, narrow = _of_neighbours(wide, largest=True), _of_neighbours(narrow, largest=False)
        changed = torch.lerp(changed, torch.where(steps > 0, wide, narrow), (steps.abs() - k).clamp(0, 1))
    return torch.maximum(changed, LIGHTEST * ink)


def break_strokes(ink: Tensor, generator: torch.Generator, *, most: int, diameter: float) -> Tensor:
    """Holes torn into strokes."""
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


LEAST_SHARE = 0.25
"""An unfinished drawing has at least this share of its ink."""
_INK = 64
"""What is darker than white by more, of 255, is ink that connects; blur is not."""


def fresh_batch(
    samples: Samples, indices: Tensor, generator: torch.Generator, partial: float = 0.0
) -> Tensor:
    """Samples for training: what is known as strokes is drawn anew, the rest is as it is."""
    draws: Any = getattr(samples, "draw", None)
    if draws is not None:
        drawn: Tensor = draws(indices, generator, partial)
        return drawn
    pixels = samples.batch(indices)
    return unfinished(pixels, generator, partial) if partial else pixels


def unfinished(images: Tensor, generator: torch.Generator, partial: float) -> Tensor:
    """Some of the drawings with a part of their ink only, 25 % to 100 %, as :func:`begun` has them."""
    chosen = torch.rand(len(images), generator=generator) < partial
    shares = LEAST_SHARE + (1 - LEAST_SHARE) * torch.rand(len(images), generator=generator)
    seeds = torch.randint(0, 2**62, (len(images),), generator=generator)
    at = chosen.nonzero().flatten()
    result = images.clone()
    for k in at.tolist():
        result[k] = begun(images[k : k + 1], float(shares[k]), int(seeds[k]))[0]
    return result


def begun(images: Tensor, share: float, seed: int) -> Tensor:
    """Drawings of which this share of the ink is on the paper, where only pixels are known of them."""
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    pixels = images.cpu().numpy()
    result = pixels.copy()
    for k in range(len(pixels)):
        kept = pixels[k, 0].copy()
        _keep(kept, share, seed + k)
        drawn = canonical(kept, kept.shape[-1])
        if drawn is not None:
            result[k, 0] = drawn
    return torch.from_numpy(result).to(images.device)


def begun_samples(samples: Samples, share: float, seed: int = 0) -> Images:
    """All samples when this share of their ink was on the paper: the first strokes where strokes are known."""
    own: Any = getattr(samples, "begun", None)
    at = torch.arange(len(samples)).split(256)
    if own is not None:
        parts = [own(k, share) for k in at]
    else:
        parts = [begun(samples.batch(k), share, seed + int(k[0])) for k in at]
    return Images(torch.cat(parts), samples.labels, samples.classes, samples.names)


@njit(cache=True, nogil=True)
def _keep(pixels, share, seed):  # type: ignore[no-untyped-def]
    """Make white what is reached after ``share`` of the ink, (h, w) uint8."""
    state = np.array([seed], np.uint64)
    h, w = pixels.shape
    inked = np.empty(h * w, np.int64)
    n = 0
    for k in range(h * w):
        if pixels[k // w, k % w] < 255 - _INK:
            inked[n] = k
            n += 1
    order = inked[:n].copy()
    for k in range(n - 1, 0, -1):
        other = int(uniform(state) * (k + 1))
        order[k], order[other] = order[other], order[k]
    reached = np.zeros((h, w), np.bool_)
    queue = np.empty(n, np.int64)
    wanted = max(1, int(np.ceil(share * n)))
    tail, start = 0, 0
    head = 0
    while head < wanted and n:
        if head == tail:  # this part is through: on with another
            while reached[order[start] // w, order[start] % w]:
                start += 1
            queue[tail] = order[start]
            reached[order[start] // w, order[start] % w] = True
            tail += 1
        i, j = queue[head] // w, queue[head] % w
        head += 1
        for di in range(-1, 2):
            for dj in range(-1, 2):
                a, b = i + di, j + dj
                if 0 <= a < h and 0 <= b < w and not reached[a, b] and pixels[a, b] < 255 - _INK:
                    reached[a, b] = True
                    queue[tail] = a * w + b
                    tail += 1
    for k in range(head, tail):  # seen, but not yet gone to
        reached[queue[k] // w, queue[k] % w] = False
    # The blurred rim of a stroke goes with the stroke.
    for i in range(h):
        for j in range(w):
            near = False
            for a in range(max(i - 1, 0), min(i + 2, h)):
                for b in range(max(j - 1, 0), min(j + 2, w)):
                    near |= reached[a, b]
            if not near or (pixels[i, j] < 255 - _INK and not reached[i, j]):
                pixels[i, j] = 255
