"""Networks from images to embeddings."""

from batchot.models.embedder import Embedder
from batchot.models.lenet import LeNet5
from batchot.models.metric_net import Activation, MetricNet

__all__ = ["Activation", "Embedder", "LeNet5", "MetricNet"]
