"""Images with their channels last."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchot.models.layers import with_channels_last


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("n", [1, 3])
def test_same_values_in_the_other_order(channels: int, n: int) -> None:
    x = torch.randn(n, channels, 5, 7)
    for given in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3)):
        laid = with_channels_last(given)
        assert torch.equal(laid, given)
        assert laid.stride()[1] == 1
        after = nn.Conv2d(channels, 4, 3)(laid)
        assert after.is_contiguous(memory_format=torch.channels_last)


def test_no_copy_without_need() -> None:
    grey = torch.randn(3, 1, 5, 7)
    assert with_channels_last(grey).data_ptr() == grey.data_ptr()
    colours = torch.randn(3, 2, 5, 7).contiguous(memory_format=torch.channels_last)
    assert with_channels_last(colours).data_ptr() == colours.data_ptr()


def test_gradient_goes_through() -> None:
    x = torch.randn(3, 1, 5, 7, requires_grad=True)
    towards = torch.randn(3, 1, 5, 7)
    (with_channels_last(x) * towards).sum().backward()
    assert torch.equal(x.grad, towards)
