"""Normalisation of inputs, memory layout, and layers over several processes on CPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.ranks import rank_count, sizes_of_all, this_rank


def with_channels_last(x: Tensor) -> Tensor:
    if torch.onnx.is_in_onnx_export():  # an exported network has no memory layout
        return x
    if x.shape[1] > 1:
        return x.contiguous(memory_format=torch.channels_last)
    # One channel is first and last at once; strides say which is meant.
    n, c, h, w = x.shape
    return x.contiguous().as_strided((n, c, h, w), (h * w, 1, w, 1))


class Normalise(nn.Module):
    r"""Subtract a mean and divide by a standard deviation by channel, :math:`(x - \mu) / s`."""

    mean: Tensor  # (1, c, 1, 1)
    std: Tensor  # (1, c, 1, 1)

    def __init__(self, in_channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if min(std) <= 0:
            raise ValueError(f"standard deviations must be positive, got {tuple(std)}")
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != in_channels:
                values = (sum(values) / len(values),) * in_channels
            self.register_buffer(name, torch.tensor(tuple(values), dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


@torch.no_grad()
def feature_length(backbone: nn.Module, in_channels: int, image_size: int) -> int:
    """Length of the feature vectors that a network gives, found by giving it one black image."""
    backbone.eval()  # the black image must not enter the running statistics
    features = backbone(torch.zeros(1, in_channels, image_size, image_size))
    backbone.train()
    if features.ndim != 2:
        raise ValueError(f"expected features of shape (1, f), got {tuple(features.shape)}")
    return int(features.shape[1])


def check_least(x: Tensor, in_channels: int, smallest: int) -> None:
    """Refuse images of other channels, or smaller than a network takes."""
    if x.ndim != 4 or x.shape[1] != in_channels or min(x.shape[2:]) < smallest:
        raise ValueError(
            f"expected images of shape (n, {in_channels}, h, w) with h, w >= {smallest}, got {tuple(x.shape)}"
        )


def check_images(x: Tensor, in_channels: int, image_size: int) -> None:
    """Refuse images of another shape than ``(n, in_channels, image_size, image_size)``."""
    if x.ndim != 4 or tuple(x.shape[1:]) != (in_channels, image_size, image_size):
        raise ValueError(
            f"expected images of shape (n, {in_channels}, {image_size}, {image_size}), got {tuple(x.shape)}"
        )


class SyncDropout(nn.Dropout):
    """Dropout whose mask is drawn for the batch of all ranks, of which each takes its rows."""

    def forward(self, input: Tensor) -> Tensor:
        """Leave values of ``(n, ...)`` out and scale the others by 1 / (1 - p)."""
        if not self.training or self.p == 0 or rank_count() == 1:
            return super().forward(input)
        sizes = sizes_of_all(len(input))
        everything = input.new_ones(sum(sizes), *input.shape[1:])
        mask = nn.functional.dropout(everything, self.p).split(sizes)[this_rank()]
        return input * mask


def synchronise_dropout(network: nn.Module) -> None:
    """Let all ``nn.Dropout`` of a network draw for the batch of all ranks."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, SyncDropout(child.p, child.inplace).train(child.training))


class SyncBatchNorm(_BatchNorm):
    r"""Batch normalisation with mean and variance of the batch that all ranks hold together."""

    local = False  # whether the statistics are those of this rank alone

    @classmethod
    def of(cls, norm: _BatchNorm) -> SyncBatchNorm:
        """The same normalisation, with the same parameters and buffers, over all ranks."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made._parameters.update(norm._parameters)
        made._buffers.update(norm._buffers)
        return made.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected a tensor of shape (n, c, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(n, c, ...)`` along all dimensions but the second."""
        if not self.training or self.local or rank_count() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        normalized, mean, variance, count = _Normalize.apply(input, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None:
            self._follow(mean, variance * (count / (count - 1)))
        made: Tensor = normalized
        return made

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Normalize(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        along = [d for d in range(x.ndim) if d != 1]
        channels = x.shape[1]
        n = x.numel() // channels
        wide = torch.promote_types(x.dtype, torch.float32)
        stats = torch.zeros(2 * channels + 1, device=x.device, dtype=wide)
        if n > 0:
            variance, mean = torch.var_mean(x.to(wide), along, correction=0)
            stats = torch.cat([mean, variance, stats.new_tensor([n])])
        parts = [torch.empty_like(stats) for _ in range(rank_count())]
        dist.all_gather(parts, stats)
        # in float64, as a mean far from 0 would leave little of the variance
        means, variances, counts = torch.stack(parts).double().split([channels, channels, 1], dim=1)
        total = counts.sum()
        if x.device.type == "cpu" and total <= 1:  # on a GPU the answer would have to be waited for
            raise ValueError(
                f"expected more than 1 value per channel when training, got {tuple(x.shape)} on this rank and "
                f"{int(total)} in all"
            )
        mean = (counts * means).sum(0) / total  # (c,)
        variance = (counts * (variances + (means - mean).square())).sum(0) / total
        mean, variance, total = mean.to(wide), variance.to(wide), total.to(wide)
        normalized = nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
        inverse = (variance + eps).rsqrt()
        ctx.along = along
        ctx.save_for_backward(x, weight, mean, inverse, total)
        ctx.mark_non_differentiable(mean, variance, total)
        return normalized, mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, total = ctx.saved_tensors
        dy, along = gradients[0], ctx.along
        shape = [1, -1] + [1] * (x.ndim - 2)
        standard = (x.to(mean.dtype) - mean.view(shape)) * inverse.view(shape)
        dy = dy.to(mean.dtype)
        sums = torch.stack([dy.sum(along), (dy * standard).sum(along)])  # (2, c)
        d_bias, d_weight = sums.clone()
        dx = None
        if ctx.needs_input_grad[0]:
            dist.all_reduce(sums)
            sums /= total
            scale = inverse if weight is None else inverse * weight.to(mean.dtype)
            dx = (dy - sums[0].view(shape) - standard * sums[1].view(shape)) * scale.view(shape)
            dx = dx.to(x.dtype)
        if weight is None:
            return dx, None, None, None
        return dx, d_weight.to(weight.dtype), d_bias.to(weight.dtype), None


def synchronise_norms(network: nn.Module) -> None:
    """Let all batch normalisations of a network see the batches of all ranks; parameters stay the same objects."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm):
                setattr(module, name, SyncBatchNorm.of(child))


@contextmanager
def local_statistics(network: nn.Module) -> Iterator[None]:
    """Let each rank normalise its own batches by themselves."""
    norms = [module for module in network.modules() if isinstance(module, SyncBatchNorm)]
    for norm in norms:
        norm.local = True
    try:
        yield
    finally:
        for norm in norms:
            norm.local = False
