"""Two and four gloo processes against one: losses and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import distributed_cases as cases
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


@pytest.fixture(scope="module", params=[2, 4])
def otherwise(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    return run_in_group(request.param, cases.other_ways, tmp_path_factory.mktemp("group"))


def test_gradients_for_a_sum_over_processes(otherwise: list[dict[str, Any]]) -> None:
    compare([results["summed"] for results in otherwise], cases.result_of("default"), 1.0, torch.float32)


@pytest.mark.parametrize("name", cases.TILED)
def test_rows_that_are_not_stored(name: str, otherwise: list[dict[str, Any]]) -> None:
    parts = [results[f"tiled {name}"] for results in otherwise]
    compare(parts, cases.result_of(name), len(parts), torch.float32)


def test_every_process_holds_its_rows_alone(otherwise: list[dict[str, Any]]) -> None:
    held = [results["rows"] for results in otherwise]
    assert [rows[0] for rows in held] == [s.stop - s.start for s in cases.rows_of((17, 11, 20, 9), len(held))]


def test_all_processes_refuse_what_does_not_go_together(otherwise: list[dict[str, Any]]) -> None:
    first, second = otherwise[0]["refused"], otherwise[1]["refused"]
    for answers in (results["refused"] for results in otherwise):
        for what, expected in (
            ("type of labels", "labels: rank 0 brings torch.int64, rank 1 torch.float32"),
            ("width", "embeddings: rank 0 brings 4 columns, rank 1 5 columns"),
            ("second batch", "ref_emb: rank 0 brings none, rank 1 some"),
        ):
            assert answers[what].startswith(f"RankError: {expected}")
    assert "NaN or infinite values in 4 of 4 rows" in second["NaN"]
    assert "rank 1 was given something that it refused" in first["NaN"]
    assert "embeddings are empty" in second["empty"]
    assert "rank 1 was given something that it refused" in first["empty"]


def test_weights_under_ddp_get_the_gradient_of_one_process(otherwise: list[dict[str, Any]]) -> None:
    expected = cases.gradients_of_a_network()
    for results in otherwise:
        for got, wanted in zip(results["network"], expected, strict=True):
            assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()
