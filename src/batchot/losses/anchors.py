"""Class anchors: one fixed point a class, as the second batch of a transport problem of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor, nn

# The anchors belong to the loss and not to a run: every seed of a comparison has the same ones.
_SEED = 2019


class ClassAnchors(nn.Module):
    r"""Points :math:`a_1, ..., a_C` on the unit sphere, as far apart as chance or orthogonality puts them.

    They are not trained. Up to as many classes as dimensions they are orthonormal, so that all are at the distance
    :math:`\|a_k - a_l\|^2 = 2` of each other; more classes take several orthonormal sets, turned at random.

    Args:
        num_classes: C, one anchor each.
        embedding_size: dimension of the embeddings.

    Raises:
        ValueError: a number is below 1.

    Example:
        >>> anchors = ClassAnchors(num_classes=3, embedding_size=8)
        >>> torch.allclose(anchors.points @ anchors.points.T, torch.eye(3), atol=1e-6)
        True
    """

    points: Tensor  # (C, d)
    labels: Tensor  # (C,)

    def __init__(self, num_classes: int, embedding_size: int) -> None:
        super().__init__()
        if num_classes < 1 or embedding_size < 1:
            raise ValueError(
                f"num_classes and embedding_size must be at least 1, got {num_classes} and {embedding_size}."
            )
        # Not in the state_dict: they follow from their two numbers, and checkpoints without them stay readable.
        self.register_buffer("points", torch.empty(num_classes, embedding_size), persistent=False)
        self.register_buffer("labels", torch.empty(num_classes, dtype=torch.long), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Write the anchors, in place; there are none on the meta device."""
        if not self.points.is_meta:
            with torch.no_grad():
                self.points.copy_(_anchors(*self.points.shape))
                self.labels.copy_(torch.arange(len(self.labels), device=self.labels.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # to_empty() leaves memory as it finds it, and no state_dict brings the anchors back.
        super()._apply(fn, recurse)
        self.reset_parameters()
        return self

    def check(self, embeddings: Tensor, labels: Tensor) -> None:
        """Refuse embeddings of another width, and labels without an anchor."""
        c, d = self.points.shape
        if embeddings.shape[1] != d:
            raise ValueError(f"the class anchors have {d} dimensions, the embeddings {embeddings.shape[1]}.")
        if labels.is_floating_point():
            raise ValueError(f"class anchors need whole numbers as labels, got {labels.dtype}.")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= c:
            raise ValueError(
                f"labels run from {low} to {high}, but there are anchors of the classes 0 to {c - 1} "
                "(num_classes of the loss)."
            )

    def extra_repr(self) -> str:
        return f"num_classes={self.points.shape[0]}, embedding_size={self.points.shape[1]}"


@lru_cache(maxsize=8)
def _anchors(num_classes: int, embedding_size: int) -> Tensor:
    """(C, d) float32, in the memory of the host whatever the default device."""
    # Neither the sets before a resume nor the state of any other random numbers may depend on this.
    generator = torch.Generator().manual_seed(_SEED)
    sets = []
    with torch.device("cpu"), torch.inference_mode(False):
        for _ in range(math.ceil(num_classes / embedding_size)):
            q, r = torch.linalg.qr(
                torch.randn(embedding_size, embedding_size, generator=generator, dtype=torch.float64)
            )
            # this sign makes it uniform over all rotations
            sets.append((q * torch.sign(torch.diagonal(r))).T)
        return torch.cat(sets)[:num_classes].float()
