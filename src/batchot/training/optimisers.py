"""Optimiser and learning rate of a recipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from batchot.models import MVCNN, Embedder
from batchot.models.efficientnet_lite import EfficientNetLite
from batchot.training.recipe import OptimSettings

_START = 0.05  # share of the highest learning rate at which a warm-up begins
_BETA2 = 0.99  # of Adam and AdamW: runs of a few epochs are too short for 0.999


def lr_factor(settings: OptimSettings, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Give the learning rate of a step as a share of the highest one."""
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "exponential":
        return float(settings.decay ** (step // steps_per_epoch))
    total = steps_per_epoch * epochs
    up = settings.warmup * total
    if step < up:
        return _START + (1 - _START) * step / up
    down = min(1.0, (step - up) / (total - up))
    shape = 1 - down if settings.schedule == "one-cycle" else 0.5 * (1 + math.cos(math.pi * down))
    return settings.final + (1 - settings.final) * shape


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Move the singular values of a matrix towards 1 by Newton-Schulz iterations."""
    a, b, c = 3.4445, -4.7750, 2.0315  # the quintic that lifts small singular values fastest
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.AdamW):
    """Muon on the parameter groups marked ``muon``, AdamW on the others, as one optimiser."""

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], momentum: float
    ) -> None:
        self.momentum = momentum
        super().__init__([{"muon": False} | g for g in groups], lr=lr, betas=betas, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # closure evaluates the loss and its gradients
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        everything = self.param_groups
        for group in everything:
            if group["muon"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._orthogonal_step(parameter, group)
        self.param_groups = [g for g in everything if not g["muon"]]
        try:
            super().step()
        finally:
            self.param_groups = everything
        return loss

    def _orthogonal_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # AdamW looks for it in every state that it loads
        velocity = state["momentum"].mul_(self.momentum).add_(parameter.grad)
        ahead = parameter.grad + self.momentum * velocity
        rows = parameter.shape[0]
        direction = orthogonalise(ahead.reshape(rows, -1).float()).reshape(parameter.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        # longer steps for tall matrices, so that outputs change by as much whatever the shape
        scale = max(1.0, rows * rows / parameter.numel()) ** 0.5
        parameter.add_(direction.to(parameter.dtype), alpha=-group["lr"] * scale)


def lr_factors(settings: OptimSettings, network: nn.Module) -> dict[nn.Parameter, float]:
    """Give the factor of the learning rate of each parameter that is trained."""
    factors = {p: 1.0 for p in network.parameters() if p.requires_grad}
    for part in network.modules():
        if isinstance(part, Embedder):
            backbone = part.backbone.backbone if isinstance(part.backbone, MVCNN) else part.backbone
            layers = backbone.layers() if isinstance(backbone, EfficientNetLite) else [backbone]
            for above, layer in enumerate(reversed(layers)):
                own = settings.backbone_lr * settings.layer_decay**above
                factors |= {p: own for p in layer.parameters() if p in factors}
    return factors


def make_optimiser(settings: OptimSettings, network: nn.Module, loss: nn.Module) -> torch.optim.Optimizer:
    """Make the optimiser of a network and of the parameters that its loss may have."""
    muon = settings.name == "muon"
    factors = lr_factors(settings, network)
    groups: list[dict[str, Any]] = []
    for factor in sorted(set(factors.values()), reverse=True):
        some = [p for p, own in factors.items() if own == factor]
        kernels = [p for p in some if p.ndim == 4]
        matrices = [p for p in some if p.ndim in (2, 3)]
        vectors = [p for p in some if p.ndim <= 1]
        rate = {"weight_decay": settings.weight_decay, "lr": settings.lr * factor}
        groups += [
            {"params": kernels, **rate, **({"muon": True, "lr": settings.muon_lr * factor} if muon else {})},
            {"params": matrices, **rate},
            {"params": vectors, **rate, "weight_decay": 0.0},
        ]
    loss_lr = settings.lr * settings.loss_lr_factor
    groups.append({"params": list(loss.parameters()), "weight_decay": 0.0, "lr": loss_lr})
    groups = [g for g in groups if g["params"]]
    betas = (settings.momentum, _BETA2)
    if settings.name == "muon":
        return Muon(groups, lr=settings.lr, betas=betas, momentum=settings.momentum)
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov, fused=True
        )
    adam = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return adam(groups, lr=settings.lr, betas=betas, fused=True)


def make_schedule(
    settings: OptimSettings, optimiser: torch.optim.Optimizer, steps_per_epoch: int, epochs: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Make the schedule that sets the learning rates before every step, see `lr_factor`."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: lr_factor(settings, step, steps_per_epoch, epochs)
    )
