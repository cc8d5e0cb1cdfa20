"""Drawings that are not finished yet, made from finished ones that are known as pixels only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from batchot.data.images import Images
from batchot.data.pen import uniform
from batchot.data.samples import Samples
from batchot.data.sketch_image import canonical

LEAST_SHARE = 0.25
"""An unfinished drawing has at least this share of its ink."""
_INK = 64
"""What is darker than white by more, of 255, is ink that connects; blur is not."""


def fresh_batch(
    samples: Samples, indices: Tensor, generator: torch.Generator, partial: float = 0.0
) -> Tensor:
    """Samples for training: what is known as strokes is drawn anew, the rest is as it is.

    Args:
        samples: any set; one with a method ``draw(indices, generator, partial)`` is asked by that.
        indices: int64, shape ``(b,)``.
        generator: CPU random number generator; untouched where nothing is drawn.
        partial: share of the drawings that are not finished yet, see :func:`unfinished`.

    Returns:
        Samples ``(b, ...)``, as :meth:`batchot.data.Samples.batch` gives them.

    Example:
        >>> import torch
        >>> from batchot.data import load_digits
        >>> from batchot.data.partial import fresh_batch
        >>> fresh_batch(load_digits().train, torch.arange(3), torch.Generator()).shape
        torch.Size([3, 1, 8, 8])
    """
    draws: Any = getattr(samples, "draw", None)
    if draws is not None:
        drawn: Tensor = draws(indices, generator, partial)
        return drawn
    pixels = samples.batch(indices)
    return unfinished(pixels, generator, partial) if partial else pixels


def unfinished(images: Tensor, generator: torch.Generator, partial: float) -> Tensor:
    """Some of the drawings with a part of their ink only, 25 % to 100 %, as :func:`begun` has them.

    Args:
        images: dark strokes on white, uint8, shape ``(b, 1, h, w)``.
        generator: CPU random number generator.
        partial: chance of each to be unfinished.

    Returns:
        Drawings of the same shape.
    """
    chosen = torch.rand(len(images), generator=generator) < partial
    shares = LEAST_SHARE + (1 - LEAST_SHARE) * torch.rand(len(images), generator=generator)
    seeds = torch.randint(0, 2**62, (len(images),), generator=generator)
    at = chosen.nonzero().flatten()
    result = images.clone()
    for k in at.tolist():
        result[k] = begun(images[k : k + 1], float(shares[k]), int(seeds[k]))[0]
    return result


def begun(images: Tensor, share: float, seed: int) -> Tensor:
    """Drawings of which this share of the ink is on the paper, where only pixels are known of them.

    From a place in the ink that is chosen by chance one goes along the ink; where a connected part ends, it goes on
    at another one. What is left is brought to the form of sketches, as the page does with what is drawn so far.

    Args:
        images: dark strokes on white, uint8, shape ``(b, 1, h, w)``, square.
        share: of the ink, in (0, 1].
        seed: of the places.

    Returns:
        Drawings of the same shape.

    Example:
        >>> import torch
        >>> from batchot.data.partial import begun
        >>> image = torch.full((1, 1, 40, 40), 255, dtype=torch.uint8)
        >>> image[..., 20, 4:36] = 0
        >>> bool((begun(image, 0.5, 0) < 128).sum() > 0)
        True
    """
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
    """All samples when this share of their ink was on the paper: the first strokes where strokes are known.

    Args:
        samples: drawings; where only pixels are known, :func:`begun` goes along the connected parts.
        share: of the ink, in (0, 1].
        seed: of where that begins.

    Example:
        >>> import torch
        >>> from batchot.data.drawings import Drawings
        >>> from batchot.data.partial import begun_samples
        >>> lines = Drawings.of([[[[0, 0], [9, 9]]]], torch.tensor([0]), ("line",), size=20)
        >>> begun_samples(lines, 0.5).images.shape
        torch.Size([1, 1, 20, 20])
    """
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
