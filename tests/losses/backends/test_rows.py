"""Rows that are stored, in tiles or on any device, against the general path in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot import batch_ot_loss
from batchot.losses import solve as solving
from batchot.losses.backends import cpu
from batchot.losses.backends.cpu import StoredRows, TiledRows
from batchot.losses.backends.iterate import newton_on_rows, scale
from batchot.losses.backends.rows import Alone, RowBlock, TorchRows, Weighed
from batchot.losses.problem import Rows
from batchot.losses.settings import BatchOTSettings

Make = Callable[[Rows, ExitStack], RowBlock]
BLOCKS: dict[str, tuple[Make, torch.dtype]] = {
    "stored": (StoredRows, torch.float32),
    "tiled": (TiledRows, torch.float32),
    "strips": (lambda rows, stack: TorchRows(rows, strip=500), torch.float32),
    "strips, double": (lambda rows, stack: TorchRows(rows, strip=500), torch.float64),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"plan": "uniform", "pos_margin": 0.3},
    {"lam": 0.0},
    {"lam": 20.0, "gamma": 5.0, "margin": 1.6, "pos_margin": 0.1},
]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a batch has many, cut at odd places."""
    monkeypatch.setattr(cpu, "_ROWS", 13)
    monkeypatch.setattr(cpu, "_COLUMNS", 29)
    monkeypatch.setattr(cpu, "_STRIP", 400)


def rows_of(n: int, m: int | None, options: dict[str, Any], dtype: torch.dtype, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)

    def draw(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(size, 12, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(x).to(dtype), torch.randint(0, 4, (size,), generator=generator)

    x, labels = draw(n)
    y, y_labels = (x, labels) if m is None else draw(m)
    return Rows(x, y, labels, y_labels, 0 if m is None else None, n, BatchOTSettings(**options))


def by_the_general_path(rows: Rows, options: dict[str, Any]) -> tuple[float, list[torch.Tensor]]:
    x = rows.x.double().requires_grad_()
    y = None if rows.itself else rows.y.double().requires_grad_()
    others = () if y is None else (None, y, rows.y_labels)
    options = {**options, "tolerance": 1e-9, "normalize": False}  # of unit length already
    loss = batch_ot_loss(x, rows.x_labels, *others, **options)
    return loss.item(), list(torch.autograd.grad(loss, [x] if y is None else [x, y]))


def solved_by(make: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Weighed:
    monkeypatch.setattr(solving, "_block", lambda rows, backend, stack: make(rows, stack))
    return solving.solve_rows(rows, "compiled", Alone())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("n", "m"), [(2, None), (60, None), (131, None), (40, 97), (97, 1)])
@pytest.mark.parametrize("kind", BLOCKS)
def test_loss_and_gradient(
    kind: str, n: int, m: int | None, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, dtype = BLOCKS[kind]
    rows = rows_of(n, m, options, dtype)
    got = solved_by(make, rows, monkeypatch)
    loss, grads = by_the_general_path(rows, options)
    assert got.loss == pytest.approx(loss, rel=1e-5, abs=1e-7)
    for part, wanted in zip((got.grad_x, got.grad_y), grads, strict=False):
        assert part is not None
        assert (part - wanted).abs().max() <= 1e-5 * wanted.abs().max() + 1e-9


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("first", [0, 17, 40])
def test_some_rows_of_a_batch_against_itself(kind: str, first: int) -> None:
    """What a process asks of its rows, against the same rows of the whole."""
    make, dtype = BLOCKS[kind]
    whole = rows_of(60, None, {}, dtype)
    part = slice(first, first + 20)
    some = Rows(whole.x[part], whole.y, whole.x_labels[part], whole.y_labels, first, 60, whole.settings)
    v = np.random.default_rng(0).random(60).astype(np.float32 if dtype == torch.float32 else np.float64)
    with ExitStack() as stack:
        every, few = make(whole, stack), make(some, stack)
        assert np.allclose(few.row_sums(v), every.row_sums(v)[part], rtol=1e-6)
        assert np.allclose(few.half_step(v)[0], every.half_step(v)[0][part], rtol=1e-6)
        assert np.allclose(every.column_sums(v), every.row_sums(v), rtol=1e-6)
        a, b = every.weigh(v, v, True, False), few.weigh(v[part], v, True, False)
    assert a.grad_x is not None and b.grad_x is not None and b.grad_y is None
    assert torch.allclose(b.grad_x, a.grad_x[part], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["stored", "tiled", "strips, double"])
@pytest.mark.parametrize("lam", [10.0, 40.0])
def test_newton_where_classes_hardly_exchange_mass(kind: str, lam: float) -> None:
    """Classes of unequal size on the two sides: the iteration stalls, and its acceleration ends in NaN."""
    make, dtype = BLOCKS[kind]
    rows = rows_of(60, 45, {"lam": lam, "gamma": 3.0}, dtype)
    with ExitStack() as stack:
        block = make(rows, stack)
        found = scale(block, Alone())
        # the plan that it claims, multiplied out by another block
        v64 = found.v.astype(np.float64)
        double = TorchRows(rows_of(60, 45, {"lam": lam, "gamma": 3.0}, torch.float64))
        r = found.u * double.row_sums(v64)
        c = found.v * double.column_sums(found.u.astype(np.float64))
    assert found.error <= 1e-6
    assert np.abs(r - 1 / 60).sum() + np.abs(c - 1 / 45).sum() <= 5e-6


def test_newton_from_nothing_finds_what_the_iteration_finds() -> None:
    rows = rows_of(50, None, {}, torch.float64)
    block = TorchRows(rows, strip=500)
    by_newton, by_iteration = newton_on_rows(block, Alone(), np.zeros(50)), scale(block, Alone())
    ratio = by_newton.v / by_iteration.v
    assert by_newton.error <= 1e-6
    assert ratio == pytest.approx(np.full(50, ratio[0]), rel=1e-4)


@given(n=st.integers(2, 70), m=st.none() | st.integers(1, 70), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_tiles_give_what_stored_rows_give(n: int, m: int | None, seed: int) -> None:
    rows = rows_of(n, m, {}, torch.float32, seed)
    with ExitStack() as stack:
        stored, in_tiles = StoredRows(rows, stack), TiledRows(rows, stack)
        v = np.random.default_rng(seed).random(len(rows.y)).astype(np.float32)
        u, c = stored.half_step(v)
        other_u, other_c = in_tiles.half_step(v)
        assert np.allclose(u, other_u, rtol=1e-6) and np.allclose(c, other_c, rtol=1e-5)
        assert np.allclose(stored.column_sums(u), in_tiles.column_sums(u), rtol=1e-5)
        assert np.allclose(stored.row_sums(v), in_tiles.row_sums(v), rtol=1e-6)


def test_a_large_problem_that_is_not_solved_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solving, "_GENERAL_PAIRS", 0)
    rows = rows_of(60, 45, {"lam": 40.0, "max_iterations": 2}, torch.float32)
    with pytest.warns(Warning, match=r"Sinkhorn stopped after 2 iterations .*60 x 45 pairs"):
        solved_by(TiledRows, rows, monkeypatch)


def test_other_devices_and_types_take_strips_above_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(80, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(80) % 7
    expected = batch_ot_loss(x, labels, tolerance=1e-9)
    (wanted,) = torch.autograd.grad(expected, x)
    taken: list[tuple[int, str]] = []
    solve = solving.solve_rows
    monkeypatch.setattr(
        solving, "solve_rows", lambda rows, *how: taken.append((len(rows.x), how[0])) or solve(rows, *how)
    )
    monkeypatch.setattr(
        solving,
        "TABLE",
        [case._replace(batch=min(case.batch, 1)) for case in solving.TABLE],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = batch_ot_loss(x, labels, tolerance=1e-9)
        (grad,) = torch.autograd.grad(loss, x)
    assert taken == [(80, "strips")]
    assert loss.dtype == torch.float64 and loss.item() == pytest.approx(expected.item(), rel=1e-8)
    assert (grad - wanted).abs().max() <= 1e-7 * wanted.abs().max()
