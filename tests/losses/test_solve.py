"""Closed forms on a CPU against the general path, in the sizes and cases in which they take different branches."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from batchot import batch_ot_loss
from batchot.losses import solve
from batchot.losses.backends import cpu
from batchot.losses.problem import Problem, check_problem
from batchot.losses.settings import BatchOTSettings

CASES = [
    {},
    {"plan": "uniform"},
    {"plan": "uniform", "pos_margin": 0.3},
    {"lam": 0.0},
    {"lam": 40.0},
    {"gamma": 1.0, "pos_margin": 0.2, "margin": 1.6},
    {"normalize": False, "margin": 30.0, "gamma": 0.2},
]


def data(n: int, m: int | None, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 12, generator=generator, requires_grad=True)
    labels = torch.randint(0, 6, (n,), generator=generator)
    if m is None:
        return [x], (x, labels)
    y = torch.randn(m, 12, generator=generator, requires_grad=True)
    return [x, y], (x, labels, None, y, torch.randint(0, 6, (m,), generator=generator))


@pytest.mark.parametrize(
    ("n", "m", "dtype", "options", "of", "expected"),
    [
        (2, None, torch.float32, {}, "batch", "compiled"),
        (511, None, torch.bfloat16, {}, "batch", "compiled"),
        (512, None, torch.float32, {}, "batch", "stored"),
        (600, 500, torch.float32, {"plan": "uniform", "lam": 5000.0}, "term", "stored"),
        (8, 8, torch.float32, {}, "ranks", "stored"),
        (11586, None, torch.float32, {}, "batch", "tiled"),
        (8192, None, torch.float64, {}, "batch", "general"),
        (8193, None, torch.float64, {"tolerance": 1e-9}, "batch", "strips"),
        (8, 8, torch.float64, {}, "ranks", "strips"),
        (1, 5, torch.float32, {}, "batch", "general"),
        (9, None, torch.float32, {"lam": 41.0}, "batch", "general"),
        (9, None, torch.float32, {"tolerance": 1e-7}, "batch", "general"),
        (9, None, torch.float32, {"grad": "implicit"}, "ranks", "general"),
        (9, None, torch.float32, {"power": 2}, "batch", "general"),
        (9, None, torch.float32, {"distance_power": 1}, "term", "general"),
    ],
)
def test_the_table(n: int, m: int | None, dtype: torch.dtype, options: dict, of: str, expected: str) -> None:
    x, labels = torch.empty(n, 1, dtype=dtype), torch.empty(n)
    y, y_labels = (None, None) if m is None else (torch.empty(m, 1, dtype=dtype), torch.empty(m))
    settings = BatchOTSettings(**options)
    assert solve.backend_of(Problem(x, labels, y, y_labels, None, settings), of) == expected
    for other in (
        Problem(x, labels, y, y_labels, None, settings, torch.cdist),
        Problem(x, labels, y, y_labels, (labels,) * 4, settings),
        Problem(x, None, y, None, None, settings),
    ):
        assert solve.backend_of(other, of) == "general"


def test_rows_of_several_processes_are_held_as_fits_each() -> None:
    pairs = 1 << 30
    assert solve.backends_for("cpu", False, "ranks", pairs, 1 << 27)[0] == "stored"
    assert solve.backends_for("cpu", False, "ranks", pairs, 1 << 28)[0] == "tiled"
    assert solve.backends_for("cuda", False, "ranks", 1 << 20, 1 << 20) == []
    assert solve.backends_for("cuda", False, "ranks", (1 << 20) + 1, 9) == ["strips"]
    assert solve.backends_for("cuda", False, "batch", 9, 9) == ["triton"]


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize(
    ("n", "m"),
    [(2, None), (3, None), (63, None), (300, None), (600, None), (2, 1), (64, 40), (40, 300), (600, 500)],
)
def test_equals_the_general_path(
    n: int, m: int | None, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, args = data(n, m)
    problem = check_problem(*args, *[None] * (5 - len(args)), BatchOTSettings(**options))
    assert solve.backend_of(problem) in ("compiled", "stored")
    loss = batch_ot_loss(*args, **options)
    grads = torch.autograd.grad(loss, inputs)
    monkeypatch.setattr(solve, "TABLE", ())
    double_args = [a.double() if torch.is_tensor(a) and a.is_floating_point() else a for a in args]
    expected = batch_ot_loss(*double_args, **options, **{"tolerance": 1e-9})
    expected_grads = torch.autograd.grad(expected, inputs)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)  # abs: float32 rounding of d2
    for got, wanted in zip(grads, expected_grads, strict=True):
        assert (got - wanted).norm() <= 2e-4 * wanted.norm() + 1e-9


@pytest.mark.parametrize(("n", "m"), [(65, None), (700, None), (600, 500)])
def test_threads_change_nothing(n: int, m: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, args = data(n, m)
    monkeypatch.setattr(cpu, "THREADED_PAIRS", 1)
    before = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            loss = batch_ot_loss(*args)
            results.append((loss.item(), torch.autograd.grad(loss, inputs)))
    finally:
        torch.set_num_threads(before)
    for value, grads in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-6)
        for grad, wanted in zip(grads, results[0][1], strict=True):
            assert torch.allclose(grad, wanted, atol=1e-7)


def test_only_the_gradients_asked_for_are_computed() -> None:
    (x, y), args = data(10, 8)
    y.requires_grad_(False)
    batch_ot_loss(*args).backward()
    assert x.grad is not None and y.grad is None
    with torch.no_grad():
        assert not batch_ot_loss(*args).requires_grad


def test_one_tensor_as_both_batches_and_accumulated_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    (x,), (_, labels) = data(20, None)
    (3.0 * batch_ot_loss(x, labels, None, x + 0, labels)).backward()
    got = x.grad.clone()
    x.grad = None
    monkeypatch.setattr(solve, "TABLE", ())
    (3.0 * batch_ot_loss(x, labels, None, x + 0, labels)).backward()
    assert torch.allclose(got, x.grad, atol=1e-6)


def test_labels_beyond_32_bits_and_of_other_types() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 3
    expected = batch_ot_loss(x, labels).item()
    for other in (labels * 2**40 - 7, labels.float() + 0.5, labels.to(torch.uint8), labels.double() * 1e300):
        assert batch_ot_loss(x, other).item() == expected


def test_hard_problem_falls_back_to_the_general_solver() -> None:
    """Two classes placed the wrong way round: the symmetric iteration is slowest on such bipartite plans."""
    x = torch.tensor([[1.0, 0.0]] * 9 + [[1.0, 1e-3]] * 4, requires_grad=True)
    labels = torch.tensor([0] * 9 + [1] * 4)
    loss = batch_ot_loss(x, labels, lam=40.0)
    loss.backward()
    exact = batch_ot_loss(x.double(), labels, lam=40.0, tolerance=1e-10)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)
    assert torch.isfinite(x.grad).all()


def test_is_differentiable_once() -> None:
    (x,), args = data(8, None)
    (grad,) = torch.autograd.grad(batch_ot_loss(*args), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        grad.sum().backward()


def test_works_in_forked_children_and_without_numba() -> None:
    code = """
import sys
{before}
import torch
from batchot import batch_ot_loss
x, y = torch.randn(1500, 8), torch.arange(1500) % 5
whole = batch_ot_loss(x, y)
{after}
print("fine")
"""
    fork = """
import os
pid = os.fork()
if pid == 0:
    torch.set_num_threads(2)
    os._exit(0 if torch.isclose(batch_ot_loss(x, y), whole) else 1)
assert os.waitpid(pid, 0)[1] == 0
"""
    without = "from batchot.losses import solve; assert solve.compiled_kernels() is None"
    block = "sys.modules['numba'] = None"
    for before, after in (("", "torch.set_num_threads(1)\n" + fork), (block, without)):
        script = code.format(before=before, after=after)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0 and "fine" in done.stdout, done.stderr
