from __future__ import annotations

import bisect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from batchot.evaluation.ranking import irrelevant_before

ROUTES = [False, True]


def naive_counts(keys: Tensor, relevant: Tensor, ties: str) -> list[list[int]]:
    before = bisect.bisect_right if ties == "pessimistic" else bisect.bisect_left
    return [
        [before(sorted(k), r) for r in sorted(rs)]
        for k, rs in zip(keys.tolist(), relevant.tolist(), strict=True)
    ]


def assert_counts(keys: Tensor, relevant: Tensor, ties: str, compiled: bool) -> None:
    counts = irrelevant_before(keys.clone(), relevant.clone(), ties, compiled=compiled)
    meant = relevant.sort(dim=1).values < math.inf
    assert torch.equal(counts[meant], torch.tensor(naive_counts(keys, relevant, ties))[meant])


# few different values make ties; 1e30 makes cells so wide that all other keys fall in one
values = st.sampled_from([-3.0, -1.5, -1.0, 0.0, 1e-40, 1e-3, 1.0, 1.0000001, 2.0, 7.0, 1e30, math.inf])
rows = st.integers(1, 4)


@given(data=st.data(), q=rows, m=st.integers(1, 30), K=st.integers(1, 12))
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
@pytest.mark.parametrize("compiled", ROUTES)
def test_equals_bisection_of_sorted_lists(compiled, ties, dtype, data, q, m, K):
    keys = torch.tensor(data.draw(st.lists(values, min_size=q * m, max_size=q * m)), dtype=dtype)
    relevant = torch.tensor(data.draw(st.lists(values, min_size=q * K, max_size=q * K)), dtype=dtype)
    assert_counts(keys.reshape(q, m), relevant.reshape(q, K), ties, compiled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
@pytest.mark.parametrize("compiled", ROUTES)
@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e6])
def test_many_random_keys(compiled, ties, dtype, spread):
    g = torch.Generator().manual_seed(0)
    keys = (torch.randn(7, 3000, generator=g) * spread).to(dtype)
    relevant = (torch.randn(7, 200, generator=g).exp() * spread).to(dtype)
    relevant[:, :50] = keys[:, :50]  # exact ties
    relevant[3, 100:] = math.inf
    relevant[4] = math.inf
    keys[5, 100:] = math.inf
    assert_counts(keys, relevant, ties, compiled)
