"""Two other questions to a recipe: classes that training has not seen, and views as points of the transport problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from batchot.data import Splits
from batchot.towers.embedder import Outputs
from batchot.towers.tower import Tower
from batchot.training.learner import Learner


def unseen_classes(load: Callable[..., Splits]) -> Callable[..., Splits]:
    """Train on the classes with even numbers, test on the odd ones."""

    def loaded(*given: Any, **named: Any) -> Splits:
        splits = load(*given, **named)
        even = (splits.train.labels % 2 == 0).nonzero()[:, 0]
        odd = (splits.test.labels % 2 == 1).nonzero()[:, 0]
        return dataclasses.replace(splits, train=splits.train.subset(even), test=splits.test.subset(odd))

    return loaded


def views_as_points(pooled_too: bool) -> None:
    """Let each view of a shape have an embedding and a place in the batch of the loss.

    Args:
        pooled_too: the loss is half of that of the views and half of that of the pooled shapes, and these are what is
            tested; else a shape is tested as the mean of the unit embeddings of its views
    """
    of_shapes = Learner.loss

    def forward(tower: Tower, prepared: Tensor) -> Tensor:
        backbone: Any = tower.embedder.backbone
        features = backbone.view_features(prepared)  # (b, v, f)
        views = tower.embedder.head(features.flatten(0, 1)).float()
        if pooled_too:
            pooled = tower.embedder.head(backbone.pooling(features)).float()
            return torch.cat([pooled, views]) if tower.training else pooled
        if tower.training:
            return views
        return F.normalize(views).unflatten(0, features.shape[:2]).mean(1)

    def loss(learner: Learner, outputs: dict[str, Outputs], labels: dict[str, Tensor]) -> Tensor:
        def of_rows(embeddings: Tensor, y: Tensor) -> Tensor:
            return of_shapes(learner, {name: Outputs(embeddings, None)}, {name: y})

        ((name, (embeddings, _)),) = outputs.items()
        y = labels[name]
        b = len(y)
        views = embeddings[b if pooled_too else 0 :]
        value = of_rows(views, y.repeat_interleave(len(views) // b))
        return 0.5 * of_rows(embeddings[:b], y) + 0.5 * value if pooled_too else value

    Tower.forward = forward  # type: ignore[method-assign]
    Learner.loss = loss  # type: ignore[method-assign]
    Learner._report_plan = lambda *given: None  # type: ignore[method-assign]  # of shapes, not of views
