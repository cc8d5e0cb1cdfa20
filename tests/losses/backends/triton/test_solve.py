"""Every way to find the scalings, against the general path in float64."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchot.losses.problem import Problem
from batchot.losses.settings import BatchOTSettings
from gpu_support import TINY, Outcome, assert_same, expected, problem, random_batch

PATHS = ["small", "persistent", "stored", "tiled"]


def found(batch: Problem, options: BatchOTSettings, device: torch.device, path: str) -> tuple[Outcome, float]:
    from batchot.losses.backends.triton.solve import solve

    # In the interpreter each launch costs 5 ms, also one that finds the work done.
    most = 30 if options.lam <= 20.0 else 100
    options = dataclasses.replace(options, max_iterations=min(options.max_iterations, most))
    loss, error, grad_x, grad_y = solve(problem(batch, options, device), path, TINY)
    return Outcome(loss.cpu().double(), grad_x, grad_y if batch.y is not None else None), float(error)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("n", "m", "d", "options"),
    [
        (37, None, 19, BatchOTSettings()),
        (21, 34, 19, BatchOTSettings(pos_margin=0.2)),
        (33, None, 5, BatchOTSettings(normalize=False, margin=2.0)),
        (18, 17, 1, BatchOTSettings(normalize=False, margin=2.0)),
        (32, None, 16, BatchOTSettings(lam=0.0)),
        (20, None, 7, BatchOTSettings(lam=40.0, gamma=0.5)),
        (2, None, 3, BatchOTSettings()),
        (1, 3, 3, BatchOTSettings()),
    ],
)
def test_loss_and_gradients(
    n: int, m: int | None, d: int, options: BatchOTSettings, path: str, device: torch.device
) -> None:
    batch = random_batch(n, m, d, seed=n)
    outcome, error = found(batch, options, device, path)
    assert error <= options.tolerance
    assert_same(outcome, expected(batch, options))


@pytest.mark.parametrize("m", [None, 20])
def test_uniform_plan(m: int | None, device: torch.device) -> None:
    batch = random_batch(33, m, 9)
    options = BatchOTSettings(plan="uniform", pos_margin=0.1)
    assert_same(found(batch, options, device, "tiled")[0], expected(batch, options))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(2, 40),
    m=st.none() | st.integers(1, 40),
    d=st.integers(2, 40),  # unit rows of one dimension cannot move: their gradient is 0 but for rounding
    classes=st.integers(1, 6),
    lam=st.floats(0.0, 20.0),
    gamma=st.floats(0.1, 5.0),
    normalize=st.booleans(),
    path=st.sampled_from(PATHS),
    seed=st.integers(0, 2**31),
)
def test_any_problem(
    n: int, m: int | None, d: int, classes: int, lam: float, gamma: float, normalize: bool, path: str, seed: int,
    device: torch.device,
) -> None:  # fmt: skip
    batch = random_batch(n, m, d, classes, seed)
    options = BatchOTSettings(lam=lam, gamma=gamma, normalize=normalize, pos_margin=0.05)
    outcome, error = found(batch, options, device, path)
    # What float32 does to the distances, the exponents multiply; a plan that is off by its error moves the loss so far.
    assert_same(
        outcome, expected(batch, options), tolerance=1e-5 * max(1.0, lam * gamma / 15.0) + 10.0 * error
    )


@pytest.mark.parametrize("path", PATHS)
def test_one_class_and_equal_embeddings(path: str, device: torch.device) -> None:
    one_class = random_batch(20, None, 6, classes=1)
    assert_same(found(one_class, BatchOTSettings(), device, path)[0], expected(one_class, BatchOTSettings()))
    equal = Problem(torch.ones(18, 5), torch.arange(18) % 3)
    outcome, error = found(equal, BatchOTSettings(), device, path)
    assert error <= 1e-6
    wanted = expected(equal, BatchOTSettings())
    assert abs(outcome.loss - wanted.loss) <= 1e-6
    assert float(outcome.grad_x.abs().max()) <= 1e-6


def test_labels_are_compared_exactly(device: torch.device) -> None:
    batch = random_batch(20, None, 6)
    far = dataclasses.replace(batch, labels=batch.labels + (1 << 53))
    large = dataclasses.replace(batch, labels=batch.labels * (1 << 32))
    wanted = expected(batch, BatchOTSettings())
    for path in ("small", "tiled"):
        for each in (far, large):
            assert_same(found(each, BatchOTSettings(max_iterations=15), device, path)[0], wanted)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_told_by_the_loss(value: float, path: str, device: torch.device) -> None:
    for m in (None, 9):
        batch = random_batch(17, m, 6)
        batch.x[3, 2] = value
        assert found(batch, BatchOTSettings(), device, path)[0].loss.isnan()


@pytest.mark.parametrize("path", PATHS)
def test_stops_after_max_iterations_with_the_best_so_far(path: str, device: torch.device) -> None:
    for m in (None, 12):
        batch = random_batch(20, m, 6)
        errors = [found(batch, BatchOTSettings(max_iterations=k), device, path)[1] for k in (1, 3, 15)]
        assert errors[0] > errors[1] > 1e-6 >= errors[2]


@pytest.mark.parametrize("m", [None, 17])
def test_launches_after_the_last_step_change_nothing(m: int | None, device: torch.device) -> None:
    batch = random_batch(20, m, 6)
    first, _ = found(batch, BatchOTSettings(max_iterations=15), device, "stored")
    second, _ = found(batch, BatchOTSettings(max_iterations=20), device, "stored")
    assert torch.equal(first.loss, second.loss) and torch.equal(first.grad_x, second.grad_x)


@pytest.mark.parametrize(
    ("n", "m"), [(100, None), (600, None), (600, 900), (3000, None), (9000, None), (9000, 8000)]
)
def test_sizes_of_a_gpu(n: int, m: int | None, device: torch.device) -> None:
    """The path and the tiles that are chosen for a size, in both precisions of the matrix product."""
    from batchot.losses.backends.triton.solve import solve

    if device.type == "cpu":
        pytest.skip("too much work for the interpreter")
    batch, options = random_batch(n, m, 64, classes=50), BatchOTSettings()
    wanted = expected(batch, options)
    for precision in ("ieee", "tf32x3"):
        loss, error, grad_x, grad_y = solve(problem(batch, options, device, precision))
        assert float(error) <= 1e-6
        assert_same(Outcome(loss.cpu().double(), grad_x, None if m is None else grad_y), wanted)
