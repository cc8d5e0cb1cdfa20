"""Networks whose embeddings can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.models import CosineHead
from batchot.towers.spec import EmbedderSpec
from batchot.towers.tower import Tower, backbone_of


class Outputs(NamedTuple):
    """What a network says about a batch."""

    embeddings: Tensor  # (b, d), float32
    logits: Tensor | None  # (b, c), None without a classifier


class Embedder(nn.Module):
    """A tower for each kind of samples, tied where they share weights, and one classifier where there is one.

    Args:
        spec: what it is built of
        pretrained: for some towers, where the weights of the backbone come from, see `make_backbone`

    Attributes:
        classes: names of the classes
        embedding_dim: width of the embeddings
        normalized: the embeddings are unit vectors
        towers: the networks by name
        metrics: of a run, content of metrics.json, empty before the first evaluation
        recipe: of a run, its settings as attributes, such as ``recipe.loss.lam``

    Example::

        embedder = batchot.load_run("runs/mnist")
        with torch.no_grad():
            embeddings = embedder(images)  # (n, 256)
    """

    def __init__(self, spec: EmbedderSpec, pretrained: Mapping[str, str | None] | None = None) -> None:
        super().__init__()
        made = {name: Tower(tower, (pretrained or {}).get(name)) for name, tower in spec.towers.items()}
        self.towers = nn.ModuleDict(made)
        self.spec = replace(spec, towers={name: tower.spec for name, tower in made.items()})
        self.embedding_dim = next(iter(made.values())).embedder.embedding_dim
        self.head: nn.Module | None = None
        if spec.head is not None:
            d, c = spec.dimensions, len(spec.classes)
            self.head = CosineHead(d, c, spec.head_scale) if spec.head == "cosine" else nn.Linear(d, c)
        first, *others = made.values()
        for other in others if spec.share != "none" else []:
            mine, theirs = other.embedder, first.embedder
            tie(backbone_of(mine.backbone), backbone_of(theirs.backbone), separate_norm=spec.separate_norm)
            if spec.share == "all":
                tie(mine.head, theirs.head, separate_norm=spec.separate_norm)
        self.metrics: dict[str, Any] = {}
        self.recipe = SimpleNamespace()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.spec.classes

    @property
    def normalized(self) -> bool:
        return self.spec.normalized

    def tower(self, name: str | None = None) -> Tower:
        """Give a tower; the name may be left out where there is only one."""
        if name is None and len(self.towers) == 1:
            name = next(iter(self.towers))
        if name is None or name not in self.towers:
            raise ValueError(f"there is no tower {name!r}; there are {', '.join(self.towers)}")
        tower = self.towers[name]
        assert isinstance(tower, Tower)
        return tower

    def logits(self, embeddings: Tensor) -> Tensor | None:
        """Give what the classifier reads off embeddings that are not normalised."""
        return None if self.head is None else self.head(embeddings).float()

    def outputs(self, samples: Tensor, tower: str | None = None, *, prepared: bool = False) -> Outputs:
        """Give the embeddings that are compared and the logits, see `forward`; of prepared samples if so said."""
        network = self.tower(tower)
        x = samples if prepared else network.prepared(samples)
        embeddings = network(x)
        logits, embeddings = self.logits(embeddings), self._compared(embeddings)
        if not network.spec.flip:
            return Outputs(embeddings, logits)
        other = network(network.mirrored(x))
        mean = self._compared((embeddings + self._compared(other)) / 2)
        other_logits = self.logits(other)
        if logits is None or other_logits is None:
            return Outputs(mean, None)
        return Outputs(mean, (logits + other_logits) / 2)

    def _compared(self, embeddings: Tensor) -> Tensor:
        return nn.functional.normalize(embeddings) if self.normalized else embeddings

    def forward(self, samples: Tensor | str, tower: str | Tensor | None = None) -> Tensor:
        """Embed samples.

        Args:
            samples: images (n, c, h, w) or views (n, v, c, h, w) as the network has them, uint8 in 0 .. 255 or
                floating point in 0 .. 1; or clouds (n, p, 3), centred, in the unit sphere, z up
            tower: by which network, such as "sketch"; may be left out where there is only one, and may come first

        Returns:
            Embeddings, shape (n, d), L2-normalised where the loss normalises; those of all towers can be compared.

        Raises:
            ValueError: no such tower, floating point pixels outside 0 .. 1
        """
        if isinstance(samples, str):
            samples, tower = tower, samples  # type: ignore[assignment]
        return self.outputs(samples, tower).embeddings  # type: ignore[arg-type]

    def embed(self, samples: Tensor, tower: str | None = None) -> Tensor:
        """Embed samples as `forward` does, without gradients."""
        with torch.inference_mode():
            return self.outputs(samples, tower).embeddings


def tie(module: nn.Module, other: nn.Module, *, separate_norm: bool) -> None:
    """Let a module have the parameters of another of the same kind in the place of its own."""
    theirs = dict(other.named_modules())
    for name, mine in module.named_modules():
        twin = theirs.get(name)
        if isinstance(mine, _BatchNorm):
            if separate_norm:
                continue
            if isinstance(twin, _BatchNorm):  # statistics as well
                for key, buffer in twin._buffers.items():
                    mine._buffers[key] = buffer
        for key, parameter in mine._parameters.items():
            if parameter is None:
                continue
            shared = None if twin is None else twin._parameters.get(key)
            if shared is None or shared.shape != parameter.shape:
                raise ValueError(
                    f"{name}.{key}: networks that share weights must be alike; this one has "
                    f"{tuple(parameter.shape)}, the other {None if shared is None else tuple(shared.shape)}"
                )
            mine._parameters[key] = shared
