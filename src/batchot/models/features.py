"""The part of a network before the metric network, from the settings of a recipe."""

from __future__ import annotations

from typing import Literal, cast

from torch import nn

from batchot.models.backbones import make_backbone
from batchot.models.dgcnn import DGCNN
from batchot.models.embedder import HasOutFeatures
from batchot.models.lenet import LeNet5
from batchot.models.mvcnn import MVCNN
from batchot.models.pointnet import PointNet
from batchot.models.view_pooling import Pooling

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
    """Make a network from samples to feature vectors.

    Args:
        name: the kind of network
        input_shape: of one sample: (c, h, w) of images, (v, c, h, w) of views, (p, 3) of clouds
        channels: of the two convolutions (lenet)
        batch_norm: after convolutions (lenet)
        backbone: network of an image or view (cnn, mvcnn), see `make_backbone`
        pretrained: its weights, see `make_backbone`
        pooling: of the views' features (mvcnn)
        channels_apart: see `MVCNN`
        views_at_once: see `MVCNN`

    Returns:
        The network, and the length of its feature vectors.

    Raises:
        BackboneError: there is no such backbone, or its weights cannot be had
        ValueError: on sizes out of range

    >>> make_features("cnn", (1, 32, 32), backbone="resnet10-w4")[1]
    32
    """
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
