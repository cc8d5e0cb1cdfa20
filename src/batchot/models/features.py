"""The part of a network before the metric network, from the settings of a recipe."""

from __future__ import annotations

from typing import Literal, cast

from torch import nn

from batchot.models.backbones import make_backbone
from batchot.models.dgcnn import DGCNN
from batchot.models.embedder import HasOutFeatures
from batchot.models.lenet import LeNet5
from batchot.models.mvcnn import MVCNN, Pooling
from batchot.models.pointnet import PointNet

NetworkName = Literal["lenet", "cnn", "mvcnn", "pointnet", "dgcnn"]


def make_features(
    name: NetworkName,
    input_shape: tuple[int, ...],
    *,
    channels: tuple[int, int] = (32, 64),
    batch_norm: bool = False,
    backbone: str = "resnet18-w16",
    pretrained: str | None = None,
    pooling: Pooling = "max",
    channels_apart: bool = False,
    views_at_once: int | None = None,
) -> tuple[nn.Module, int]:
    """Make a network from samples to feature vectors."""
    features: nn.Module
    if name == "lenet":
        features = LeNet5(input_shape[0], input_shape[1], channels, batch_norm)
    elif name == "pointnet":
        features = PointNet()
    elif name == "dgcnn":
        features = DGCNN()
    else:
        c, h = input_shape[-3:-1]
        apart = channels_apart and name == "mvcnn"
        features = make_backbone(backbone, in_channels=1 if apart else c, image_size=h, pretrained=pretrained)
        if name == "mvcnn":
            views = input_shape[0] * (c if apart else 1)
            features = MVCNN(
                features, pooling, n_views=views, channels_apart=apart, views_at_once=views_at_once
            )
    return features, cast(HasOutFeatures, features).out_features
