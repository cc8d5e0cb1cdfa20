"""Networks from images, views and point clouds to embeddings."""

from batchot.models.backbones import list_backbones, make_backbone
from batchot.models.convnets import AlexNet, LeNet5, ResNet
from batchot.models.heads import Activation, CosineHead, Embedder, MetricNet
from batchot.models.mvcnn import MVCNN, Pooling, ViewPooling
from batchot.models.points import DGCNN, PointNet
from batchot.models.pretrained import BackboneError

__all__ = [
    "DGCNN", "MVCNN", "Activation", "AlexNet", "BackboneError", "CosineHead", "Embedder", "LeNet5",
    "MetricNet", "PointNet", "Pooling", "ResNet", "ViewPooling", "list_backbones", "make_backbone",
]  # fmt: skip
