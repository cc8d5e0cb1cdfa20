"""Networks from images, views and point clouds to embeddings."""

from batchot.models.backbones import list_backbones, make_backbone
from batchot.models.convnets import AlexNet, LeNet5, ResNet
from batchot.models.heads import (
    PAPER_WIDTHS,
    Activation,
    CosineHead,
    Embedder,
    MetricNet,
    modern_head,
    paper_head,
)
from batchot.models.mvcnn import MVCNN, Pooling, ViewPooling
from batchot.models.points import DGCNN, PointNet, orthogonality_penalty
from batchot.models.pretrained import BackboneError

__all__ = [
    "DGCNN", "MVCNN", "PAPER_WIDTHS", "Activation", "AlexNet", "BackboneError", "CosineHead", "Embedder",
    "LeNet5", "MetricNet", "PointNet", "Pooling", "ResNet", "ViewPooling", "list_backbones", "make_backbone",
    "modern_head", "orthogonality_penalty", "paper_head",
]  # fmt: skip
