"""Two and four gloo processes against one: losses and gradients."""

from __future__ import annotations

from pathlib import Path

import distributed_cases as cases
import pytest
import torch
from distributed_cases import CASES, Result
from process_group import run_in_group


@pytest.fixture(scope="module", params=[2, 4])
def in_group(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Result]]:
    return run_in_group(request.param, cases.all_cases, tmp_path_factory.mktemp("group"))


def compare(parts: list[Result], expected: Result, factor: float, dtype: torch.dtype) -> None:
    value_tolerance, tolerance = (2e-3, 2e-2) if dtype == torch.bfloat16 else (1e-5, 1e-5)
    for part in parts:
        assert part.values == pytest.approx(expected.values, rel=value_tolerance)
    for k, wanted in enumerate(expected.grads):
        got = torch.cat([part.grads[k] for part in parts]) / factor
        assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("name", CASES)
def test_equals_one_process(name: str, in_group: list[dict[str, Result]]) -> None:
    parts = [results[name] for results in in_group]
    expected = cases.result_of(name)
    compare(parts, expected, len(parts), CASES[name].dtype)
    for part in parts:  # a memory is the same in all processes and in one
        for key, wanted in expected.state.items():
            assert torch.allclose(part.state[key].float(), wanted.float(), atol=1e-6), key
