"""Numbers by key."""

from __future__ import annotations

import pytest
import torch

from batchot.data.batches.samplers import generator_for


def test_keys_give_numbers_of_their_own() -> None:
    keys = [("a", 0), ("b", 0), ("a", 1), ("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("a",), ("a", 2**40)]
    numbers = [torch.rand(8, generator=generator_for(*key)) for key in keys]
    for i, first in enumerate(numbers):
        assert torch.equal(first, torch.rand(8, generator=generator_for(*keys[i])))
        assert not any(torch.equal(first, second) for second in numbers[:i])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    torch.rand(3, generator=generator_for("a", 1))
    assert torch.rand(1) == expected


def test_negative() -> None:
    with pytest.raises(ValueError, match=r"at least 0, got \(-1, 0\)"):
        generator_for("a", -1, 0)
