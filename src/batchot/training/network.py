"""What is trained: embedder, optional classifier, and the normalisation of the images before them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from batchot.models import Embedder, LeNet5, MetricNet
from batchot.training.heads import CosineHead
from batchot.training.recipe import Recipe


class Outputs(NamedTuple):
    """What the network says about a batch."""

    embeddings: Tensor  # (b, d), float32, not normalised
    logits: Tensor | None  # (b, c), None without a head


class Network(nn.Module):
    """LeNet-5, metric network and, where the recipe has cross-entropy, a classifier on the embeddings.

    Args:
        recipe: widths, activations, head
        image_shape: channels, height, width
        n_classes: classes of the classifier
    """

    def __init__(self, recipe: Recipe, image_shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        model, loss = recipe.model, recipe.loss
        backbone = LeNet5(
            in_channels=image_shape[0],
            image_size=image_shape[1],
            channels=model.channels,
            batch_norm=model.batch_norm,
        )
        metric = MetricNet(
            backbone.out_features,
            widths=model.widths,
            activation=model.activation,
            batch_norm=model.batch_norm,
        )
        self.embedder = Embedder(backbone, metric)
        self.head: nn.Module | None = None
        if loss.cross_entropy_weight > 0:
            width = model.widths[-1]
            self.head = (
                CosineHead(width, n_classes, loss.head_scale)
                if loss.head == "cosine"
                else nn.Linear(width, n_classes)
            )

    def forward(self, images: Tensor) -> Outputs:  # (b, c, h, w)
        """Give embeddings and logits of normalised images."""
        embeddings = self.embedder(images).float()
        return Outputs(embeddings, None if self.head is None else self.head(embeddings).float())


def embed(network: Network, images: Tensor, *, normalize: bool, flip: bool) -> Outputs:
    """Give the embeddings that are compared and the logits that are read off.

    Args:
        network: in eval mode
        images: normalised, (b, c, h, w)
        normalize: L2-normalise
        flip: average over each image and its mirror image
    """

    def once(x: Tensor) -> Outputs:
        embeddings, logits = network(x)
        return Outputs(nn.functional.normalize(embeddings) if normalize else embeddings, logits)

    first = once(images)
    if not flip:
        return first
    mirrored = once(images.flip(3))
    mean = (first.embeddings + mirrored.embeddings) / 2
    if normalize:
        mean = nn.functional.normalize(mean)
    if first.logits is None or mirrored.logits is None:
        return Outputs(mean, None)
    return Outputs(mean, (first.logits + mirrored.logits) / 2)
