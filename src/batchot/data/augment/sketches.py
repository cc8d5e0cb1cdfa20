"""Augmentation of sketches: pen, warp, scale."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from batchot.data.augment.strokes import break_strokes, widen_strokes

WIDTH = 0.7
"""Standard deviation of a bump, cells: below, the nodes show as knots; above, fields are the same with fewer cells."""


def smooth_field(b: int, c: int, h: int, w: int, cells: int, generator: torch.Generator) -> Tensor:
    r"""Smooth Gaussian random fields of mean 0 and variance 1 at every pixel."""
    # One node outside at each side: the border moves as freely as the middle. Two small products of matrices are all
    # that is done, where noise of the size of the sheet would have to be drawn and blurred.
    noise = torch.randn(b, c, cells + 3, cells + 3, generator=generator)
    return _bumps(h, cells) @ noise @ _bumps(w, cells).T


def _bumps(length: int, cells: int) -> Tensor:
    """Gaussian bumps at the nodes of the cells, rows of length 1, (length, cells + 3)."""
    place = (torch.arange(length) + 0.5) * (cells / length)
    node = torch.arange(-1, cells + 2)
    bumps = (-0.5 * ((place[:, None] - node) / WIDTH).square()).exp()
    return F.normalize(bumps, dim=1)


PAPER = 255.0
"""Grey of the sheet on which there is no stroke."""
ELASTIC_CELLS = 4
"""Places along each side of the sheet that move apart from each other: limbs grow longer, necks bend."""
TREMOR_CELLS = 20
"""The same for the trembling of a hand, which bends a stroke within a few of its widths."""
PIXELS_AT_ONCE = 1 << 17
"""Of a batch, so that what is between two steps stays in the processor's cache: twice as fast."""


@dataclass(frozen=True)
class SketchAugmentation:
    r"""Random changes of drawings, dark strokes on white paper.

    A point p of the changed sheet shows the point of the drawing

    .. math:: q = A^{-1}(p - s) + \delta(p), \quad A = R_\theta \, \mathrm{diag}(k\sqrt{a},\, \pm k / \sqrt{a})

    with the centre of the sheet as origin. What comes in from outside is white paper.
    """

    flip: bool = False  # mirror left to right (the sign) with probability one half
    turn: float = 0.0  # standard deviation of the angle (R), degrees; 180 and above: any angle
    rotations: int = 0  # on top of it, turn by a multiple of 360 / rotations degrees, each as likely; 0: not
    shift: float = 0.0  # largest shift (s) in each direction, pixels; not rounded to whole ones
    scale: float = 0.0  # the drawing grows by a factor (k) uniform in ``[1 - scale, 1 + scale]``
    stretch: float = 0.0  # logarithm of a, uniform in ``[-stretch, stretch]``
    # standard deviation of a displacement that varies over a quarter of the sheet, pixels
    elastic: float = 0.0
    tremor: float = 0.0  # the same for one that varies over a twentieth of it, as an unsteady hand draws
    thickness: float = 0.0  # strokes become up to so many pixels thicker or thinner, but never vanish
    gaps: int = 0  # up to so many places where the strokes are broken
    gap_size: float = 5.0  # diameter of such a place, pixels

    def __post_init__(self) -> None:
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale must be in [0, 1), got {self.scale}")
        if not all(number >= 0 and math.isfinite(number) for number in astuple(self)):
            raise ValueError(f"every number must be finite and at least 0, got {self}")

    def __call__(self, images: Tensor, generator: torch.Generator, fill: Tensor | None = None) -> Tensor:
        if not (self._moves or self.thickness or self.gaps) or len(images) == 0:
            return images
        at_once = max(1, PIXELS_AT_ONCE // max(1, images[:1].numel()))
        parts = [self._change(part, generator) for part in images.split(at_once)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        ink = PAPER - images.to(torch.float32)  # so that outside of the sheet, where zeros come in, is paper
        if self.gaps:
            ink = break_strokes(ink, generator, most=self.gaps, diameter=self.gap_size)
        if self._moves:
            ink = F.grid_sample(ink, self._grid(images, generator), padding_mode="zeros", align_corners=False)
        if self.thickness:
            by = self.thickness * _uniform(len(images), generator)
            ink = widen_strokes(ink, by.to(ink.device))
        changed = (PAPER - ink).clamp_(0, PAPER)  # interpolation rounds
        return (changed if images.is_floating_point() else changed.round_()).to(images.dtype)

    @property
    def _moves(self) -> bool:
        moves = (self.flip, self.turn, self.rotations, self.shift, self.scale, self.stretch)
        return any((*moves, self.elastic, self.tremor))

    def _grid(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Where each pixel of the changed drawings comes from, (b, h, w, 2), in the units of ``grid_sample``."""
        b, _, h, w = images.shape
        matrix, offset = self._affine(b, generator)
        # Pixels from the centre; in them, not in shares of a side, a turn keeps angles on an oblong sheet too.
        x, y = torch.arange(w) - (w - 1) / 2, torch.arange(h) - (h - 1) / 2
        p = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]))  # (2, h, w)
        q = (matrix @ (p.reshape(2, h * w) - offset)).view(b, 2, h, w)
        for deviation, cells in ((self.elastic, ELASTIC_CELLS), (self.tremor, TREMOR_CELLS)):
            if deviation:
                q.add_(smooth_field(b, 2, h, w, cells, generator), alpha=deviation)
        q *= torch.tensor([2 / w, 2 / h]).view(2, 1, 1)
        return q.permute(0, 2, 3, 1).to(images.device)

    def _affine(self, b: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inverse of A, (b, 2, 2), and s, (b, 2, 1)."""
        angle, factor, aspect = torch.zeros(b), torch.ones(b), torch.zeros(b)
        sign, offset = torch.ones(b), torch.zeros(b, 2, 1)
        if self.flip:
            sign = 1.0 - 2.0 * torch.randint(0, 2, (b,), generator=generator)
        if self.turn >= 180:
            angle = math.pi * _uniform(b, generator)
        elif self.turn:
            angle = math.radians(self.turn) * torch.randn(b, generator=generator)
        if self.rotations:
            step = 2 * math.pi / self.rotations
            angle = angle + step * torch.randint(0, self.rotations, (b,), generator=generator)
        if self.scale:
            factor = 1 + self.scale * _uniform(b, generator)
        if self.stretch:
            aspect = self.stretch * _uniform(b, generator)
        if self.shift:
            offset = self.shift * _uniform(2 * b, generator).view(b, 2, 1)
        along, across = sign / (factor * (aspect / 2).exp()), (aspect / 2).exp() / factor
        cos, sin = angle.cos(), angle.sin()
        inverse = torch.stack([along * cos, along * sin, -across * sin, across * cos], dim=1)
        return inverse.view(b, 2, 2), offset


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    """Uniform in [-1, 1), shape (n,)."""
    return 2 * torch.rand(n, generator=generator) - 1
