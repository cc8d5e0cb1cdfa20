from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances, reducers
from pytorch_metric_learning.losses import ContrastiveLoss

from batchot import BatchOTLoss, batch_ot_loss
from batchot.losses import PRESETS
from oracles import batch_ot as naive

Tensor = torch.Tensor


def naive_loss(
    x: Tensor, labels: Tensor, y=None, y_labels=None, *, plan="transport", lam=5.0, gamma=3.0, **m
):
    """(L, dL/dx of detached plan through x only as rows) in double precision loops."""
    x, labels = x.double().tolist(), labels.tolist()
    itself = y is None
    y, y_labels = (x, labels) if itself else (y.double().tolist(), y_labels.tolist())
    M = naive.misplacements(x, labels, y, y_labels, **m)
    D = [[math.exp(-gamma * e) for e in row] for row in M]
    if plan == "uniform":
        T = naive.uniform(len(x), len(y), diagonal=not itself)
    else:
        T = naive.transport(D, lam, diagonal=not itself)
    return naive.loss(T, M), T


@pytest.mark.parametrize("plan", ["transport", "uniform"])
@pytest.mark.parametrize("lam", [0.01, 5.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_naive_loops(batch, plan: str, lam: float, dtype: torch.dtype) -> None:
    x, labels = batch
    x = x.to(dtype)
    expected, _ = naive_loss(x, labels, plan=plan, lam=lam, margin=8.0, pos_margin=0.5)
    got = batch_ot_loss(x, labels, plan=plan, lam=lam, margin=8.0, pos_margin=0.5, normalize=False)
    assert got.item() == pytest.approx(expected, rel=1e-5)
    expected, _ = naive_loss(x[:9], labels[:9], x[9:], labels[9:], plan=plan, lam=lam, margin=8.0)
    got = batch_ot_loss(
        x[:9], labels[:9], None, x[9:], labels[9:], plan=plan, lam=lam, margin=8.0, normalize=False
    )
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_normalising_is_the_default_and_equals_normalised_input(batch) -> None:
    x, labels = batch
    unit = torch.tensor([naive.unit(row) for row in x.double().tolist()])
    assert batch_ot_loss(x, labels).item() == pytest.approx(naive_loss(unit, labels)[0], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_the_one_the_paper_prints(batch, dtype: torch.dtype) -> None:
    x, labels = (batch[0].to(dtype), batch[1])
    p, q = x[:10].clone().requires_grad_(), x[10:].clone().requires_grad_()
    lp, lq = labels[:10], labels[10:]
    batch_ot_loss(p, lp, None, q, lq, margin=8.0, normalize=False, tolerance=1e-6).backward()
    _, T = naive_loss(p.detach(), lp, q.detach(), lq, margin=8.0)
    args = (p.double().tolist(), lp.tolist(), q.double().tolist(), lq.tolist())
    expected_p = torch.tensor(naive.gradient(*args, T, 8.0))
    expected_q = torch.tensor(naive.gradient(args[2], args[3], args[0], args[1], np.array(T).T.tolist(), 8.0))
    assert torch.allclose(p.grad.double(), expected_p.double(), atol=2e-6)
    assert torch.allclose(q.grad.double(), expected_q.double(), atol=2e-6)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize(("distance_power", "power"), [(2, 1), (1, 1), (2, 2), (1, 2)])
def test_implicit_gradient_by_finite_differences(
    normalize: bool, itself: bool, distance_power: int, power: int
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 3, dtype=torch.float64, generator=generator).requires_grad_()
    y = torch.randn(5, 3, dtype=torch.float64, generator=generator).requires_grad_()
    lx, ly = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 2, 0, 1])
    options = {"normalize": normalize, "grad": "implicit", "gamma": 2.0, "tolerance": 1e-13, "margin": 1.3}
    options |= {"distance_power": distance_power, "power": power, "max_iterations": 20_000}
    if itself:
        assert torch.autograd.gradcheck(lambda p: batch_ot_loss(p, lx, **options), (x,), atol=1e-6)
    else:
        assert torch.autograd.gradcheck(
            lambda p, q: batch_ot_loss(p, lx, None, q, ly, **options), (x, y), atol=1e-6
        )


def test_detached_gradient_by_finite_differences_with_the_plan_held(batch) -> None:
    x, labels = batch[0][:8].double(), batch[1][:8]
    x.requires_grad_()
    loss = batch_ot_loss(x, labels, tolerance=1e-12)
    (grad,) = torch.autograd.grad(loss, x)
    _, T = naive_loss(torch.nn.functional.normalize(x.detach()), labels)

    def held(p: Tensor) -> float:
        unit = [naive.unit(row) for row in p.tolist()]
        return naive.loss(T, naive.misplacements(unit, labels.tolist(), unit, labels.tolist()))

    for i, j in ((0, 0), (3, 2), (7, 6)):
        step = torch.zeros_like(x)
        step[i, j] = 1e-6
        slope = (held(x.detach() + step) - held(x.detach() - step)) / 2e-6
        assert float(grad[i, j]) == pytest.approx(slope, abs=1e-7)


def test_plan_equals_pot_as_the_authors_used_it(batch) -> None:
    x, labels = batch
    p, q = torch.nn.functional.normalize(x[:12]), torch.nn.functional.normalize(x[12:])
    M = naive.misplacements(
        p.double().tolist(), labels[:12].tolist(), q.double().tolist(), labels[12:].tolist()
    )
    T = ot.sinkhorn([], [], np.exp(-3 * np.array(M)), 1 / 5, numItermax=10_000, stopThr=1e-13)
    assert batch_ot_loss(p, labels[:12], None, q, labels[12:]).item() == pytest.approx(
        0.5 * (T * M).sum(), rel=1e-5
    )


@pytest.mark.parametrize("itself", [True, False])
def test_uniform_plan_is_the_all_pairs_contrastive_loss(batch, itself: bool) -> None:
    x, labels = batch
    contrastive = ContrastiveLoss(
        pos_margin=0, neg_margin=1, distance=distances.LpDistance(power=2), reducer=reducers.SumReducer()
    )
    args = (x, labels) if itself else (x[:9], labels[:9], None, x[9:], labels[9:])
    pairs = 24 * 23 if itself else 9 * 15
    assert batch_ot_loss(*args, plan="uniform").item() == pytest.approx(
        0.5 * contrastive(*args).item() / pairs, rel=1e-5
    )
    # lam -> 0 leads to the same.
    assert batch_ot_loss(*args, lam=1e-5).item() == pytest.approx(
        batch_ot_loss(*args, plan="uniform").item(), rel=1e-4
    )


batches = st.tuples(st.integers(2, 16), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**31 - 1))


def draw(n: int, d: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), torch.randint(0, classes, (n,), generator=generator)


@given(batches, st.sampled_from(["transport", "uniform"]))
@settings(max_examples=60, deadline=None)
def test_invariants(shape: tuple[int, int, int, int], plan: str) -> None:
    x, labels = draw(*shape)
    n, d = x.shape
    loss = batch_ot_loss(x, labels, plan=plan)
    assert torch.isfinite(loss) and loss >= 0
    order = torch.randperm(n, generator=torch.Generator().manual_seed(shape[3]))
    assert batch_ot_loss(x[order], labels[order], plan=plan).item() == pytest.approx(
        loss.item(), rel=1e-3, abs=1e-6
    )
    rotation, _ = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(shape[3] + 1)))
    assert batch_ot_loss(x @ rotation, labels, plan=plan).item() == pytest.approx(
        loss.item(), rel=1e-3, abs=1e-5
    )
    assert batch_ot_loss(3 * x, labels, plan=plan).item() == pytest.approx(loss.item(), rel=1e-3, abs=1e-6)
    raw = batch_ot_loss(x + 5, labels, plan=plan, normalize=False)
    assert raw.item() == pytest.approx(
        batch_ot_loss(x, labels, plan=plan, normalize=False).item(), rel=1e-2, abs=1e-4
    )


def test_zero_if_and_only_if_every_pair_is_well_placed() -> None:
    placed = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    loss = batch_ot_loss(placed, labels)
    loss.backward()
    assert loss.item() == 0 and placed.grad.abs().max() == 0
    assert batch_ot_loss(torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.0]]), labels) > 0
    assert batch_ot_loss(placed.detach(), torch.tensor([0, 0, 0, 1])) > 0


def test_mass_goes_to_the_hard_pairs() -> None:
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 4
    assert batch_ot_loss(x, labels) > 1.5 * batch_ot_loss(x, labels, plan="uniform")


@pytest.mark.parametrize("labels", [torch.zeros(8), torch.arange(8)])
@pytest.mark.parametrize("plan", ["transport", "uniform"])
def test_one_class_and_no_positive_pair_train_on_what_there_is(labels: Tensor, plan: str) -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = batch_ot_loss(x, labels.long(), plan=plan)
    loss.backward()
    assert loss > 0 and torch.isfinite(x.grad).all() and x.grad.abs().max() > 0


@pytest.mark.parametrize("plan", ["transport", "uniform"])
@pytest.mark.parametrize("normalize", [True, False])
def test_one_sample_duplicates_and_zero_rows(plan: str, normalize: bool) -> None:
    for x in (torch.ones(1, 3), torch.ones(5, 3), torch.zeros(4, 3)):
        x.requires_grad_()
        loss = batch_ot_loss(x, torch.arange(len(x)) % 2, plan=plan, normalize=normalize)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(x.grad).all()
    assert batch_ot_loss(torch.ones(1, 3), torch.zeros(1)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_and_autocast(batch, dtype: torch.dtype) -> None:
    x, labels = batch[0].to(dtype), batch[1]
    expected = batch_ot_loss(x.double(), labels)
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = batch_ot_loss(x, labels)
        implicit = batch_ot_loss(x, labels, grad="implicit")
    loss.backward()
    assert loss.dtype == torch.float32 and x.grad.dtype == dtype
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert implicit.item() == pytest.approx(expected.item(), rel=1e-4)


def test_indices_tuple_limits_the_mass_to_its_pairs(batch) -> None:
    x, labels = batch
    positive = (labels[:, None] == labels) & ~torch.eye(24, dtype=torch.bool)
    negative = labels[:, None] != labels
    everything = (*positive.nonzero(as_tuple=True), *negative.nonzero(as_tuple=True))
    assert batch_ot_loss(x, labels, everything).item() == pytest.approx(
        batch_ot_loss(x, labels).item(), rel=1e-5
    )
    assert batch_ot_loss(x, None, everything).item() == pytest.approx(
        batch_ot_loss(x, labels).item(), rel=1e-5
    )
    one = tuple(torch.tensor([i]) for i in (0, 1, 0, 1))
    unit = torch.nn.functional.normalize(x)
    d2 = float((unit[0] - unit[1]).square().sum())
    pair = d2 if labels[0] == labels[1] else max(0.0, 1 - d2)
    assert batch_ot_loss(x, labels, one).item() == pytest.approx(0.5 * pair, rel=1e-5, abs=1e-7)
    triplet = tuple(torch.tensor([i]) for i in (0, 1, 2))
    assert torch.isfinite(batch_ot_loss(x, labels, triplet))
    nothing = tuple(torch.zeros(0, dtype=torch.long) for _ in range(4))
    assert batch_ot_loss(x.requires_grad_(), labels, nothing).item() == 0


def test_presets_compute_what_the_paper_and_the_programs_compute(batch) -> None:
    x, labels = batch
    p, lp, q, lq = x[:12], labels[:12], x[12:], labels[12:]
    expected, _ = naive_loss(p, lp, q, lq, lam=10.0, gamma=10.0, margin=1.0)
    assert BatchOTLoss.from_preset("paper")(p, lp, None, q, lq).item() == pytest.approx(expected, rel=1e-5)
    expected, _ = naive_loss(p, lp, q, lq, lam=0.01, gamma=10.0, margin=5.0, power=2)
    got = BatchOTLoss.from_preset("author-code")(p, lp, None, q, lq)
    assert got.item() == pytest.approx(expected, rel=1e-5)
    uniform, _ = naive_loss(p, lp, q, lq, plan="uniform", margin=5.0, power=2)
    assert got.item() == pytest.approx(uniform, rel=0.02)  # the program's plan is uniform to 1 %
    expected, _ = naive_loss(p, lp, q, lq, lam=-0.01, margin=12.0, pos_margin=8.0, distance_power=1, power=2)
    got = BatchOTLoss.from_preset("author-code-modelnet40")(p, lp, None, q, lq)
    assert got.item() == pytest.approx(expected, rel=0.02)
    with pytest.raises(ValueError, match="unknown preset 'papier'; there are paper, author-code"):
        BatchOTLoss.from_preset("papier")
    for name in PRESETS:
        assert torch.isfinite(BatchOTLoss.from_preset(name)(x, labels))


def test_module_equals_function_and_can_be_copied_and_pickled(batch) -> None:
    x, labels = batch
    loss = BatchOTLoss(lam=7.0, gamma=3.0, margin=1.2, pos_margin=0.1)
    expected = batch_ot_loss(x, labels, lam=7.0, gamma=3.0, margin=1.2, pos_margin=0.1).item()
    assert loss(x, labels).item() == expected
    assert pickle.loads(pickle.dumps(copy.deepcopy(loss)))(x, labels).item() == expected
    assert list(loss.parameters()) == [] and loss.state_dict() == {}
    assert "lam=7.0" in repr(loss)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: batch_ot_loss(x, y[:3]), "3 labels came with 8 embeddings"),
        (lambda x, y: batch_ot_loss(x[0], y), r"embeddings must have shape \(n, d\), got \(4,\)"),
        (lambda x, y: batch_ot_loss(x[:0], y[:0]), r"embeddings are empty, shape \(0, 4\)"),
        (lambda x, y: batch_ot_loss(x, x), r"labels must have shape \(n,\) or \(n, 1\), got \(8, 4\)"),
        (lambda x, y: batch_ot_loss(x.long(), y), "floating point, got torch.int64"),
        (lambda x, y: batch_ot_loss(x, y, None, x[:, :2], y), "one dimension, got 4 and 2"),
        (lambda x, y: batch_ot_loss(x, y, None, x.clone()), "ref_emb needs ref_labels"),
        (lambda x, y: batch_ot_loss(x, y, None, None, y), "ref_labels were given without ref_emb"),
        (lambda x, y: batch_ot_loss(x), "labels are needed unless indices_tuple"),
        (lambda x, y: batch_ot_loss(x, y, (y, y)), r"3 tensors \(triplets\) or 4 \(pairs\), got 2"),
        (lambda x, y: batch_ot_loss(x, y, lam=-1), "lam must be between 0 and 10000, got -1"),
        (lambda x, y: batch_ot_loss(x, y, lam=float("nan")), "lam must be between"),
        (lambda x, y: batch_ot_loss(x, y, margin=0.0), "margin must be finite and above 0, got 0.0"),
        (lambda x, y: batch_ot_loss(x, y, margin=4.5), "margin must be at most 4 with normalize=True"),
        (lambda x, y: batch_ot_loss(x, y, gamma=float("inf")), "gamma must be finite"),
        (lambda x, y: batch_ot_loss(x, y, pos_margin=-0.1), "pos_margin must be finite and at least 0"),
        (lambda x, y: batch_ot_loss(x, y, plan="best"), "plan must be 'transport' or 'uniform', got 'best'"),
        (lambda x, y: batch_ot_loss(x, y, grad="no"), "grad must be 'detach' or 'implicit', got 'no'"),
    ],
)
def test_errors_say_what_arrived(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.randn(8, 4), torch.arange(8) % 2)


def test_nan_rows_are_named() -> None:
    x = torch.randn(8, 4)
    x[2, 1], x[5, 0] = float("nan"), float("inf")
    with pytest.raises(ValueError, match="embeddings hold NaN or infinite values in 2 of 8 rows: 2, 5"):
        batch_ot_loss(x, torch.arange(8) % 2)
    with pytest.raises(ValueError, match="ref_emb hold NaN"):
        batch_ot_loss(torch.randn(8, 4), torch.arange(8), None, x, torch.arange(8))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("plan", ["transport", "uniform"])
def test_overflow_is_told_instead_of_returned(power: int, plan: str) -> None:
    x = 1e20 * torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"overflow torch\.float32 .* training has diverged"):
        batch_ot_loss(x, torch.arange(8) % 2, normalize=False, power=power, plan=plan)
    with pytest.raises(ValueError, match="overflow"):  # their norms too: divided by them they would be zeros
        batch_ot_loss(x, torch.arange(8) % 2, plan=plan)
    assert 0 < batch_ot_loss(x / 1e5, torch.arange(8) % 2, plan=plan).item() < math.inf


def test_trains_a_linear_map() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 10, generator=generator)
    labels = torch.arange(64) % 4
    x = centres[labels] + 0.7 * torch.randn(64, 10, generator=generator)
    layer = torch.nn.Linear(10, 4)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.01)
    loss_of = BatchOTLoss()
    first = None
    for _ in range(100):
        loss = loss_of(layer(x), labels)
        first = loss.item() if first is None else first
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.3 * first
