"""Losses that were tried beside the usual one, see docs/research.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from plans import Planner, PlanOptions, log_sinkhorn
from torch import Tensor, nn


@dataclass(frozen=True)
class LossOptions:
    """What M is and what is added to 1/2 sum T M; the defaults are the form of the package.

    Args:
        margin: of negatives
        pos_margin: of positives
        distance_power: 2, squared distances, or 1
        softplus: temperature of a soft hinge (0: the hinge)
        positive_weight: factor on M of the positives
        memory: past batches kept as a second batch
        memory_weight: share of their term
        memory_start: steps before it
        centres: share of a term between samples and class centres
        centre_momentum: of the moving means
        centre_count: plain means over the first batches, until the momentum is reached
        centre_kind: "moving"; "fixed", orthonormal points that do not move
        centre_loss: "transport", sum T M with rows of 1/n; "both", and columns of 1/C; "softmax", of the cosines
        centre_lam: lam of that term; its margin is that of the batch
        centre_temperature: of the softmax
        centring: share of the mean of all centres that is taken off each
        inverse: temperature of inverse transport (0: none): the plan of the similarities is to be that of the labels
        inverse_weight: its share
        inverse_rows: only the rows of its plan are scaled, which makes it supervised contrastive learning
    """

    margin: float = 1.0
    pos_margin: float = 0.0
    distance_power: Literal[1, 2] = 2
    softplus: float = 0.0
    positive_weight: float = 1.0
    memory: int = 0
    memory_weight: float = 0.5
    memory_start: int = 100
    centres: float = 0.0
    centre_momentum: float = 0.9
    centre_count: bool = False
    centre_kind: Literal["moving", "fixed"] = "moving"
    centre_loss: Literal["transport", "both", "softmax"] = "transport"
    centre_lam: float = 5.0
    centre_temperature: float = 0.1
    centring: float = 0.0
    inverse: float = 0.0
    inverse_weight: float = 1.0
    inverse_rows: bool = False


class TriedLoss(nn.Module):
    """A batch-wise transport loss of unit embeddings with anything that was tried.

    Args:
        options: of the loss
        plan: of its plan
        n_classes, width: of the data, for the centres
    """

    def __init__(self, options: LossOptions, plan: PlanOptions, n_classes: int, width: int) -> None:
        super().__init__()
        self.options, self.gamma, self.lam = options, plan.gamma, plan.lam
        self.planner = Planner(plan)
        self.past: list[tuple[Tensor, Tensor]] = []
        self.step = 0
        self.seen = torch.zeros(n_classes, dtype=torch.bool)
        self.updates = torch.zeros(n_classes)
        self.points = torch.zeros(n_classes, width)
        if options.centre_kind == "fixed":
            square = torch.randn(width, width, generator=torch.Generator().manual_seed(1))
            self.points = torch.linalg.qr(square)[0][:n_classes].clone()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Give the loss, shape ()."""
        o = self.options
        self.step += 1
        x = F.normalize(x.float())
        delta = self._delta(x, x)
        positive = labels[:, None] == labels
        M = self._misplacement(delta, positive, o.margin)
        with torch.no_grad():
            T = self.planner(M.detach(), delta, positive, o.margin)
        value = 0.5 * (T * M).sum()
        if o.inverse:
            value = o.inverse_weight * self._inverse(x, positive) + (1 - o.inverse_weight) * value
        if o.centres:
            value = (1 - o.centres) * value + o.centres * self._centres(x, labels)
        if o.memory:
            value = self._with_memory(x, labels, value)
        return value

    def _delta(self, x: Tensor, y: Tensor) -> Tensor:
        squared = (2 - 2 * x @ y.T).clamp(min=0)
        return squared if self.options.distance_power == 2 else (squared + 1e-6).sqrt()

    def _misplacement(self, delta: Tensor, positive: Tensor, margin: float) -> Tensor:
        o = self.options
        if o.softplus:
            ours = F.softplus((delta - o.pos_margin) / o.softplus) * o.softplus
            others = F.softplus((margin - delta) / o.softplus) * o.softplus
        else:
            ours, others = (delta - o.pos_margin).clamp(min=0), (margin - delta).clamp(min=0)
        return torch.where(positive, o.positive_weight * ours, others)

    def _inverse(self, x: Tensor, positive: Tensor) -> Tensor:
        """Give a value with the gradient of KL(plan of the labels | plan of the similarities) times the temperature."""
        n = len(x)
        S = x @ x.T
        diagonal = torch.eye(n, dtype=torch.bool)
        with torch.no_grad():
            logits = (S / self.options.inverse).masked_fill(diagonal, -torch.inf)
            even = torch.full((n,), 1 / n)
            T = logits.softmax(1) / n if self.options.inverse_rows else log_sinkhorn(logits, even, even)
            wanted = (positive & ~diagonal).float()
            count = wanted.sum(1, keepdim=True)
            wanted = torch.where(count > 0, wanted / count.clamp(min=1), 0.0) / n
            weight = T * (count > 0) - wanted if self.options.inverse_rows else T - wanted
        return (weight * S).sum()

    def _centres(self, x: Tensor, labels: Tensor) -> Tensor:
        o = self.options
        with torch.no_grad():
            self._move(x, labels)
            known = self.seen.nonzero()[:, 0]
            points = self.points[known]
            points = F.normalize(points - o.centring * points.mean(0))
            own = labels[:, None] == known
        cosines = x @ points.T
        if o.centre_loss == "softmax":
            target = own.float().argmax(1)
            return F.cross_entropy(cosines / o.centre_temperature, target) * o.centre_temperature
        delta = 2 - 2 * cosines
        M = torch.where(own, (delta - o.pos_margin).clamp(min=0), (o.margin - delta).clamp(min=0))
        with torch.no_grad():
            n, m = M.shape
            logK = -o.centre_lam * torch.exp(-self.gamma * M)
            if o.centre_loss == "both":
                T = log_sinkhorn(logK, torch.full((n,), 1 / n), torch.full((m,), 1 / m))
            else:
                T = logK.softmax(1) / n
        return (T * M).sum()

    def _move(self, x: Tensor, labels: Tensor) -> None:
        o = self.options
        one = F.one_hot(labels, len(self.points)).float()
        count = one.sum(0)
        mean = one.T @ x / count.clamp(min=1)[:, None]
        keep = torch.where(self.seen, o.centre_momentum, 0.0)
        if o.centre_count:
            self.updates += (count > 0).float()
            keep = torch.minimum(1 - 1 / self.updates.clamp(min=1), torch.tensor(o.centre_momentum))
        if o.centre_kind == "moving":
            moved = keep[:, None] * self.points + (1 - keep[:, None]) * mean
            self.points = torch.where((count > 0)[:, None], moved, self.points)
        self.seen |= count > 0

    def _with_memory(self, x: Tensor, labels: Tensor, value: Tensor) -> Tensor:
        o = self.options
        if self.past and self.step > o.memory_start:
            y, y_labels = (torch.cat(parts) for parts in zip(*self.past, strict=True))
            delta = self._delta(x, y)
            M = self._misplacement(delta, labels[:, None] == y_labels, o.margin)
            with torch.no_grad():
                n, m = M.shape
                logK = -self.lam * torch.exp(-self.gamma * M)
                T = log_sinkhorn(logK, torch.full((n,), 1 / n), torch.full((m,), 1 / m))
            value = (1 - o.memory_weight) * value + o.memory_weight * (T * M).sum()
        self.past = [*self.past, (x.detach(), labels)][-o.memory :]
        return value
