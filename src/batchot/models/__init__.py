"""Networks from images, views and point clouds to embeddings."""

from batchot.models.alexnet import AlexNet
from batchot.models.backbones import make_backbone
from batchot.models.cosine_head import CosineHead
from batchot.models.dgcnn import DGCNN
from batchot.models.embedder import Embedder
from batchot.models.heads import PAPER_WIDTHS, modern_head, paper_head
from batchot.models.lenet import LeNet5
from batchot.models.metric_net import Activation, MetricNet
from batchot.models.mvcnn import MVCNN
from batchot.models.pointnet import PointNet, orthogonality_penalty
from batchot.models.resnet import ResNet
from batchot.models.view_pooling import Pooling, ViewPooling
from batchot.models.weights import BackboneError

__all__ = [
    "DGCNN",
    "MVCNN",
    "PAPER_WIDTHS",
    "Activation",
    "AlexNet",
    "BackboneError",
    "CosineHead",
    "Embedder",
    "LeNet5",
    "MetricNet",
    "PointNet",
    "Pooling",
    "ResNet",
    "ViewPooling",
    "make_backbone",
    "modern_head",
    "orthogonality_penalty",
    "paper_head",
]
