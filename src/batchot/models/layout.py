"""How images lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def with_channels_last(x: Tensor) -> Tensor:
    """The same images with their channels last in memory.

    Convolutions keep that order from one to the next; they and batch normalisation take about half the time with
    it on a CPU, and tensor cores want it. It is the images that are laid out and not the weights, because weights
    in another order cannot be saved as safetensors.

    Args:
        x: images ``(n, c, h, w)``.

    Returns:
        The images, copied only where they lay otherwise and have more than one channel.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from batchot.models.layout import with_channels_last
        >>> x = with_channels_last(torch.zeros(2, 1, 5, 5))
        >>> nn.Conv2d(1, 8, kernel_size=3)(x).is_contiguous(memory_format=torch.channels_last)
        True
    """
    if torch.onnx.is_in_onnx_export():  # an exported network has no memory layout
        return x
    if x.shape[1] > 1:
        return x.contiguous(memory_format=torch.channels_last)
    # One channel is first and last at once; strides say which is meant.
    n, c, h, w = x.shape
    return x.contiguous().as_strided((n, c, h, w), (h * w, 1, w, 1))
