"""The operator: through autograd, in half types, as one node of a compiled graph."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import pytest
import torch

from batchot.losses import solve
from batchot.losses.backends.triton import gpu_loss, gpu_loss_and_error, operator, runs_here
from batchot.losses.problem import Problem
from batchot.losses.settings import BatchOTSettings
from batchot.losses.solve import backend_of
from batchot.transport import SinkhornWarning
from gpu_support import Outcome, assert_same, expected, random_batch


def on(device: torch.device, given: Problem, **options: Any) -> Problem:
    """The problem as leaves on a device, with options."""
    x = given.x.detach().clone().to(device).requires_grad_()
    y = None if given.y is None else given.y.detach().clone().to(device).requires_grad_()
    labels, others = (None if t is None else t.to(device) for t in (given.labels, given.y_labels))
    return Problem(x, labels, y, others, settings=BatchOTSettings(**options))


@pytest.mark.parametrize("m", [None, 19])
def test_backward_scales_the_gradients(m: int | None, device: torch.device) -> None:
    problem = on(device, random_batch(23, m, 8))
    (3.0 * gpu_loss(problem)).backward()
    wanted = expected(on_cpu(problem), BatchOTSettings())
    loss = gpu_loss(problem).detach().cpu().double()
    grad_y = None if problem.y is None else problem.y.grad / 3.0
    assert_same(Outcome(loss, problem.x.grad / 3.0, grad_y), wanted)


def on_cpu(problem: Problem) -> Problem:
    tensors = (problem.x, problem.labels, problem.y, problem.y_labels)
    return Problem(*(None if t is None else t.detach().cpu() for t in tensors))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(dtype: torch.dtype, device: torch.device) -> None:
    problem = on(device, random_batch(20, None, 8, dtype=dtype))
    loss = gpu_loss(problem)
    loss.backward()
    loss = loss.detach()
    assert loss.dtype == torch.float32 and problem.x.grad.dtype == dtype
    wanted = expected(on_cpu(problem), BatchOTSettings())
    assert abs(float(loss) - float(wanted.loss)) <= 1e-5 * float(wanted.loss)
    largest = wanted.grad_x.abs().max()
    assert (problem.x.grad.cpu().double() - wanted.grad_x).abs().max() <= 2 * torch.finfo(dtype).eps * largest


def test_under_autocast(device: torch.device) -> None:
    problem = on(device, random_batch(20, 17, 8), normalize=False)
    outside = gpu_loss(problem)
    with torch.autocast(device.type, torch.bfloat16):
        inside = gpu_loss(problem)
    assert inside.dtype == torch.float32 and torch.equal(inside, outside)


def test_rows_with_gaps_and_labels_of_other_types(device: torch.device) -> None:
    problem = on(device, random_batch(20, None, 8))
    wanted, labels = gpu_loss(problem), problem.labels
    apart = torch.zeros(8, 40, device=device).T[::2]
    apart.copy_(problem.x.detach())
    for other in (labels.int(), labels.to(torch.uint8), labels.repeat_interleave(2)[::2]):
        assert torch.equal(gpu_loss(Problem(apart, other)), wanted)


def test_operator_is_registered_rightly(device: torch.device) -> None:
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    for m, need_grad in ((None, True), (13, True), (13, False)):
        b = on(device, random_batch(18, m, 6))
        x, y = (b.x, b.y) if need_grad else (b.x.detach(), None if b.y is None else b.y.detach())
        given = (x, y, b.labels, b.y_labels, 1.0, 0.0, 3.0, 5.0, True, False, 1e-6, 1000, "ieee", need_grad)
        torch.library.opcheck(torch.ops.batchot.gpu_loss.default, given, test_utils=checks)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_one_graph_under_compile(backend: str, device: torch.device) -> None:
    problem = on(device, random_batch(20, None, 8))
    weight = torch.eye(8, device=device, requires_grad=True)

    def step(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        problem = Problem(x @ weight, labels, settings=BatchOTSettings())
        assert (backend_of(problem) == "triton") == problem.x.is_cuda
        return gpu_loss(problem)

    wanted = torch.autograd.grad(step(problem.x, problem.labels), weight)[0]
    compiled = torch.compile(step, backend=backend, fullgraph=True)
    found = torch.autograd.grad(compiled(problem.x, problem.labels), weight)[0]
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-8)


def test_a_plan_that_is_not_done_is_told_of(device: torch.device) -> None:
    problem = on(device, random_batch(20, None, 8))
    with pytest.warns(SinkhornWarning, match="marginal error"):
        gpu_loss(on(device, problem, max_iterations=1))
        if device.type == "cuda":
            torch.cuda.synchronize()
            gpu_loss(problem)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SinkhornWarning)
        loss, error = gpu_loss_and_error(problem)
        gpu_loss(problem)
    assert error <= 1e-6 and not error.requires_grad and loss.requires_grad


def test_which_cases_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_batch(20, None, 8)
    assert not runs_here(problem)  # on a CPU
    monkeypatch.setattr(solve, "TABLE", [case._replace(device="cpu") for case in solve.TABLE[:1]])
    monkeypatch.setattr(operator, "HAS_TRITON", True)
    monkeypatch.setattr(operator, "_is_capable", lambda device: True)
    monkeypatch.setattr(operator, "_agrees", lambda problem: True)
    assert backend_of(problem) == "triton" and backend_of(problem, "term") == "general"
    far = dataclasses.replace(problem, settings=BatchOTSettings(lam=5000.0, plan="uniform"))
    assert backend_of(far) == "triton"
    for options in (
        BatchOTSettings(lam=41.0),
        BatchOTSettings(grad="implicit"),
        BatchOTSettings(power=2),
        BatchOTSettings(distance_power=1),
        BatchOTSettings(tolerance=1e-7),
    ):
        assert backend_of(dataclasses.replace(problem, settings=options)) == "general"
    x, labels = problem.x, problem.labels
    for other in (
        Problem(x.double(), labels),
        Problem(x, labels.float()),
        Problem(x, None, pairs=(labels, labels, labels, labels)),
        Problem(x, labels, x, None),
        Problem(x[:1], labels[:1]),
    ):
        assert backend_of(other) == "general"
