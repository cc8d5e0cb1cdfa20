"""The batch-wise optimal transport loss as a function and as a module."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from batchot.losses.problem import Distance, Problem, check_distance, check_problem, labelled_rows
from batchot.losses.settings import BatchOTSettings, preset
from batchot.losses.solve import loss_of


def batch_ot_loss(
    embeddings: Tensor,
    labels: Tensor | None = None,
    indices_tuple: Sequence[Tensor] | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    margin: float = 1.0,
    pos_margin: float = 0.0,
    gamma: float = 3.0,
    lam: float = 5.0,
    normalize: bool = True,
    plan: Literal["transport", "uniform"] = "transport",
    grad: Literal["detach", "implicit"] = "detach",
    distance: Distance | None = None,
    distance_power: Literal[1, 2] = 2,
    power: Literal[1, 2] = 1,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
    ignore_label: int | None = -1,
) -> Tensor:
    r"""Misplacement of the pairs of a batch, weighted by the transport plan that seeks the badly placed ones.

    .. math::
        \delta_{ij} &= \|x_i - y_j\|^{\text{distance_power}} \\
        M_{ij} &= Y_{ij} \, (\delta_{ij} - \text{pos_margin})_+^{\text{power}}
                + (1 - Y_{ij}) \, (\text{margin} - \delta_{ij})_+^{\text{power}} \\
        D_{ij} &= e^{-\gamma M_{ij}}, \quad
        T^* = \arg\min_{T 1 = 1/n,\ T^\top 1 = 1/m} \langle T, D \rangle - \tfrac{1}{\lambda} h(T) \\
        L &= \tfrac{1}{2} \sum_{ij} T^*_{ij} M_{ij}

    Xu, Sun and Liu, Learning with Batch-wise Optimal Transport Loss for 3D Shape Recognition, CVPR 2019.

    Args:
        embeddings: (n, d), any floating type; computed in float32 or better, under autocast too.
        labels: (n,) or (n, 1), compared for equality. May be None when ``indices_tuple`` is given.
        indices_tuple: pairs (a1, p, a2, n) or triplets (a, p, n), as miners of pytorch-metric-learning give them.
            Only these pairs get mass, and they are positive or negative as given, whatever the labels say. The
            marginals are the row and column sums of the uniform plan over these pairs: 1/n and 1/m where all are
            given, and such that there always is a plan.
        ref_emb: the second batch, (m, d). None: the batch against itself, without the diagonal.
        ref_labels: (m,).
        margin: distance from which a negative pair is easy, in units of delta; at most 4 on normalised embeddings.
        pos_margin: distance up to which a positive pair is easy.
        gamma: D = exp(-gamma M). lam: weight of <T, D> against the entropy, 0 (uniform plan) to 10,000.
        normalize: divide embeddings by their Euclidean norm; False for the paper's raw distances.
        plan: ``"uniform"`` puts T_ij = 1 / (number of pairs) in the place of the transport plan.
        grad: ``"detach"`` holds T fixed as the paper does; ``"implicit"`` differentiates L through T as well, by
            the implicit function theorem.
        distance: a distance of pytorch-metric-learning, or any callable (x, y) -> (n, m), in the place of delta
            (``normalize`` and ``distance_power`` are then its own affair). CosineSimilarity is read as 2 - 2 cos.
        distance_power, power: 2 and 1 in the paper; other values occur in the authors' code (see ``PRESETS``).
        tolerance, max_iterations: when Sinkhorn's iteration stops.
        ignore_label: rows with this label are left out, unless ``indices_tuple`` names their pairs; None: no label
            is looked at (on a GPU, looking waits for the device).

    Returns:
        The loss, a tensor of no dimension, float32 or float64, differentiable once. 0 for a batch without pairs.

    Raises:
        ValueError: lengths, ranks or ranges are wrong, the batch is empty, or embeddings are NaN (rows are named).

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], requires_grad=True)
        >>> loss = batch_ot_loss(x, torch.tensor([0, 0, 1]))
        >>> loss.backward()
        >>> round(loss.item(), 4), tuple(x.grad.shape)
        (0.1, (3, 2))
    """
    settings = BatchOTSettings(
        margin, pos_margin, gamma, lam, normalize, plan, grad, distance_power, power, tolerance, max_iterations,
        ignore_label,
    )  # fmt: skip
    check_distance(distance)
    return loss_of(check_problem(embeddings, labels, indices_tuple, ref_emb, ref_labels, settings, distance))


class BatchOTLoss(nn.Module):
    r"""The loss of :func:`batch_ot_loss` with its options stored; called like pytorch-metric-learning's losses.

    With ``num_classes`` and ``embedding_size`` a second transport problem is added, of the batch X against one fixed
    anchor a class, A (see :class:`~batchot.losses.ClassAnchors`), with the same M, gamma and lambda and the marginals
    1/n and 1/C:

    .. math:: L = (1 - w) \, \tfrac{1}{2} \sum_{ij} T_{ij} M_{ij}(X, X) + w \sum_{ik} T^A_{ik} M_{ik}(X, A)

    (no 1/2 there, as an anchor does not move). It learns faster where a batch shows few samples of each of many
    classes; the paper has no anchors. ``docs/research.md`` says what was measured.

    The wrappers of pytorch-metric-learning ask for a loss of that library: :class:`batchot.pml.BatchOTLoss`.

    Args:
        margin, pos_margin, gamma, lam, normalize, plan, grad: see :func:`batch_ot_loss`.
        distance, distance_power, power, tolerance, max_iterations, ignore_label: see :func:`batch_ot_loss`.
        num_classes, embedding_size: C and d, for class anchors; labels must then be 0 to C - 1. None: no anchors.
        anchor_weight: w, in [0, 1].

    Raises:
        ValueError: a value is not allowed, or anchors are asked for without normalised embeddings or with a distance
            of one's own.

    Example:
        >>> import torch
        >>> loss = BatchOTLoss(lam=5.0, gamma=3.0)
        >>> loss(torch.eye(4), torch.tensor([0, 0, 1, 1])) > 0
        tensor(True)
        >>> loss = BatchOTLoss(num_classes=2, embedding_size=4)
        >>> loss(torch.eye(4), torch.tensor([0, 0, 1, 1])) > 0
        tensor(True)
    """

    def __init__(
        self,
        margin: float = 1.0,
        pos_margin: float = 0.0,
        gamma: float = 3.0,
        lam: float = 5.0,
        normalize: bool = True,
        plan: Literal["transport", "uniform"] = "transport",
        grad: Literal["detach", "implicit"] = "detach",
        distance: Distance | None = None,
        distance_power: Literal[1, 2] = 2,
        power: Literal[1, 2] = 1,
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
        num_classes: int | None = None,
        embedding_size: int | None = None,
        anchor_weight: float = 0.5,
        ignore_label: int | None = -1,
    ) -> None:
        super().__init__()
        self.settings = BatchOTSettings(
            margin, pos_margin, gamma, lam, normalize, plan, grad, distance_power, power, tolerance, max_iterations,
            ignore_label,
        )  # fmt: skip
        check_distance(distance)
        self.distance = distance
        self.anchor_weight = 0.0 if num_classes is None else anchor_weight
        self.anchors: ClassAnchors | None = None
        if num_classes is not None or embedding_size is not None:
            if num_classes is None or embedding_size is None:
                raise ValueError("class anchors need num_classes and embedding_size.")
            if not 0 <= anchor_weight <= 1:
                raise ValueError(f"anchor_weight must be between 0 and 1, got {anchor_weight}.")
            if not normalize or distance is not None:
                raise ValueError(
                    "class anchors lie on the unit sphere: they need normalize=True and no distance."
                )
            if anchor_weight > 0:
                self.anchors = ClassAnchors(num_classes, embedding_size)

    @classmethod
    def from_settings(
        cls, settings: BatchOTSettings, distance: Distance | None = None, **anchors: Any
    ) -> BatchOTLoss:
        """The loss with these settings; `anchors` are num_classes, embedding_size and anchor_weight."""
        return cls(distance=distance, **dataclasses.asdict(settings), **anchors)

    @classmethod
    def from_preset(cls, name: str) -> BatchOTLoss:
        """The loss with the settings of that name in :data:`batchot.losses.PRESETS`."""
        return cls.from_settings(preset(name))

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Sequence[Tensor] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; see :func:`batch_ot_loss`."""
        problem = check_problem(
            embeddings, labels, indices_tuple, ref_emb, ref_labels, self.settings, self.distance
        )
        if self.anchors is None:
            return loss_of(problem)
        own = self._to_anchors(problem, self.anchors)
        if self.anchor_weight == 1:
            return own
        return (1 - self.anchor_weight) * loss_of(problem) + self.anchor_weight * own

    def _to_anchors(self, problem: Problem, anchors: ClassAnchors) -> Tensor:
        """The transport problem of the samples, of both batches if there are two, against the anchors."""
        if problem.labels is None or (problem.y is not None and problem.y_labels is None):
            raise ValueError("class anchors need labels of all samples, also where indices_tuple is given.")
        x, labels = problem.x, problem.labels
        if problem.y is not None and problem.y_labels is not None:
            x, labels = torch.cat([x, problem.y]), torch.cat([labels, problem.y_labels])
        # pairs of a miner may name rows of the label that is left out; they have no anchor
        x, labels = labelled_rows(x, labels, self.settings.ignore_label)
        if len(x) == 0:
            return loss_of(Problem(x, labels, settings=self.settings))
        anchors.check(x, labels)
        points, classes = anchors.points.to(x.device), anchors.labels.to(x.device)
        return 2 * loss_of(Problem(x, labels, points, classes, settings=self.settings))

    def extra_repr(self) -> str:
        weight = [] if self.anchors is None else [f"anchor_weight={self.anchor_weight:g}"]
        return ", ".join([*self.settings.shown(), *weight])


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
