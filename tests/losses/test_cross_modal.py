from __future__ import annotations

import copy
import pickle

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytorch_metric_learning import distances

from batchot import BatchOTLoss, CrossModalBatchOTLoss, batch_ot_loss, plan_report
from batchot.losses import PRESETS, BatchOTSettings
from oracles import batch_ot as naive
from oracles import cross_modal as oracle

Tensor = torch.Tensor
Batches = dict[str, tuple[Tensor, Tensor]]


def two(n: int = 10, m: int = 7, d: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batches:
    """Sketches and shapes of four classes and one class each that only one of them has."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype)
    y = (torch.randn(m, d, generator=generator, dtype=torch.float64) + 0.5).to(dtype)
    classes = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 1, 2, 3, 5])
    labels = [c[torch.arange(k) % 5] for c, k in zip(classes, (n, m), strict=True)]
    return {"sketch": (x, labels[0]), "shape": (y, labels[1])}


def lists(batches: Batches, normalize: bool) -> dict[str, oracle.Batch]:
    rows = {name: x.double().tolist() for name, (x, _) in batches.items()}
    if normalize:
        rows = {name: [naive.unit(row) for row in each] for name, each in rows.items()}
    return {name: (rows[name], labels.tolist()) for name, (_, labels) in batches.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("four_terms", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lam": 20.0, "gamma": 8.0},
        {"plan": "uniform"},
        {"normalize": False, "margin": 9.0, "pos_margin": 0.5, "gamma": 0.3},
    ],
    ids=str,
)
def test_equals_naive_loops(options: dict, four_terms: bool, dtype: torch.dtype) -> None:
    batches = two(dtype=dtype)
    plain = {"plan": "transport", "lam": 5.0, "gamma": 3.0} | options
    expected = oracle.terms(lists(batches, plain.pop("normalize", True)), four_terms, **plain)
    loss = CrossModalBatchOTLoss(0.5, {("shape", "sketch"): 2.0}, four_terms=four_terms, **options)
    got = loss.terms(batches)
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].item() == pytest.approx(value, rel=1e-5, abs=1e-7), name
    inside = {"sketch/sketch", "shape/shape", "sketch/sketch'", "shape/shape'"}
    total = sum((0.5 if name in inside else 2.0) * value for name, value in expected.items())
    assert loss(batches).item() == pytest.approx(total, rel=1e-5)
    (x, lx), (y, ly) = batches.values()
    assert loss(x, lx, y, ly).item() == loss(batches).item()


def test_each_plan_is_that_of_pot() -> None:
    loss = CrossModalBatchOTLoss(0.0, lam=10.0)
    batches = two()
    (x, lx), (y, ly) = lists(batches, True).values()
    M = np.array(naive.misplacements(x, lx, y, ly))
    T = ot.sinkhorn([], [], np.exp(-3.0 * M), 0.1, numItermax=10_000, stopThr=1e-13)
    assert list(loss.terms(batches)) == ["sketch/shape"]
    assert loss(batches).item() == pytest.approx(0.5 * float((T * M).sum()), rel=1e-6)


def test_gradient_by_finite_differences_with_the_plans_held() -> None:
    """float32, so that it is the gradient of the compiled stack."""
    batches = two(6, 5, dtype=torch.float32)
    (x, lx), (y, ly) = ((x.requires_grad_(), labels.tolist()) for x, labels in batches.values())
    CrossModalBatchOTLoss({"sketch": 0.7, "shape": 1.3}, 2.0)(batches).backward()

    def pieces(p: list, q: list) -> list[list[list[float]]]:
        p, q = ([naive.unit(row) for row in rows] for rows in (p, q))
        sides = ((p, lx, p, lx), (q, ly, q, ly), (p, lx, q, ly))
        return [naive.misplacements(*side) for side in sides]

    start = [z.detach().double() for z in (x, y)]
    at_start = pieces(*(z.tolist() for z in start))
    D = [np.exp(-3.0 * np.array(M)).tolist() for M in at_start]
    T = [naive.transport(d, 5.0, diagonal=k == 2) for k, d in enumerate(D)]

    def held(p: Tensor, q: Tensor) -> float:
        values = [naive.loss(t, M) for t, M in zip(T, pieces(p.tolist(), q.tolist()), strict=True)]
        return 0.7 * values[0] + 1.3 * values[1] + 2.0 * values[2]

    for which, grad in enumerate((x.grad, y.grad)):
        for i, j in ((0, 0), (2, 3), (4, 4)):
            step = [torch.zeros_like(z) for z in start]
            step[which][i, j] = 1e-5
            up = held(*(z + s for z, s in zip(start, step, strict=True)))
            down = held(*(z - s for z, s in zip(start, step, strict=True)))
            assert float(grad[i, j]) == pytest.approx((up - down) / 2e-5, abs=2e-6)


@pytest.mark.parametrize("four_terms", [False, True])
def test_implicit_gradient_by_finite_differences(four_terms: bool) -> None:
    (x, lx), (y, ly) = two(6, 5, 3).values()
    loss = CrossModalBatchOTLoss(
        0.5, 2.0, four_terms=four_terms, grad="implicit", gamma=2.0, tolerance=1e-13, max_iterations=20_000
    )
    inputs = (x.requires_grad_(), y.requires_grad_())
    assert torch.autograd.gradcheck(lambda p, q: loss(p, lx, q, ly), inputs, atol=1e-6)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 10_000), st.booleans())
@examples(max_examples=25, deadline=None)
def test_order_and_rotation_change_nothing(n: int, m: int, seed: int, four_terms: bool) -> None:
    batches = two(n, m, seed=seed)
    loss = CrossModalBatchOTLoss(1.0, 0.5, four_terms=four_terms)
    value = loss(batches).item()
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    cut = {name: (len(x) + 1) // 2 if four_terms else len(x) for name, (x, _) in batches.items()}
    changed = {}
    for name in reversed(batches):  # the order of the modalities neither
        x, labels = batches[name]
        halves = torch.arange(len(x)).split([cut[name], len(x) - cut[name]])
        order = torch.cat([half[torch.randperm(len(half), generator=generator)] for half in halves])
        changed[name] = x[order] @ turn, labels[order]
    assert loss(changed).item() == pytest.approx(value, rel=1e-5, abs=1e-9)


def test_uniform_plan_is_the_all_pairs_contrastive_loss() -> None:
    batches = two(dtype=torch.float32)
    (x, lx), (y, ly) = batches.values()
    d2 = torch.cdist(torch.nn.functional.normalize(x), torch.nn.functional.normalize(y)) ** 2
    pairs = torch.where(lx[:, None] == ly, d2, (1.0 - d2).clamp(min=0))
    loss = CrossModalBatchOTLoss(0.0, plan="uniform")
    assert loss(batches).item() == pytest.approx(0.5 * pairs.mean().item(), rel=1e-5)


def test_is_zero_where_every_pair_is_placed_well() -> None:
    corners, labels = torch.eye(3), torch.arange(3)
    loss = CrossModalBatchOTLoss()
    assert loss(corners.repeat(2, 1), labels.repeat(2), corners, labels).item() == 0.0
    assert loss(corners, labels, corners.flip(0), labels).item() > 0.1


def test_three_modalities_and_terms_that_are_not_named() -> None:
    batches = two() | {"photo": two(4, 2, seed=5)["sketch"]}
    everything = CrossModalBatchOTLoss().terms(batches)
    assert set(everything) == {
        "sketch/sketch", "shape/shape", "photo/photo", "sketch/shape", "sketch/photo", "shape/photo"
    }  # fmt: skip
    loss = CrossModalBatchOTLoss({"shape": 1.0}, {("sketch", "shape"): 1.0, ("photo", "shape"): 3.0})
    some = loss.terms(batches)
    assert set(some) == {"shape/shape", "sketch/shape", "shape/photo"}
    for name, value in some.items():
        assert value.item() == pytest.approx(everything[name].item(), rel=1e-6)
    expected = some["shape/shape"] + some["sketch/shape"] + 3.0 * some["shape/photo"]
    assert loss(batches).item() == pytest.approx(expected.item(), rel=1e-6)
    x, labels = batches["photo"]
    alone = CrossModalBatchOTLoss()(dict(photo=(x, labels)))
    assert alone.item() == pytest.approx(batch_ot_loss(x, labels).item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_sample_has_no_term_within_and_no_second_half(dtype: torch.dtype) -> None:
    batches = two(1, 6, dtype=dtype)
    (x, lx), (y, ly) = batches.values()
    x.requires_grad_()
    terms = CrossModalBatchOTLoss().terms(batches)
    assert terms["sketch/sketch"].item() == 0.0
    across = batch_ot_loss(x, lx, None, y, ly)
    assert terms["sketch/shape"].item() == pytest.approx(across.item(), rel=1e-5)
    (grad,) = torch.autograd.grad(CrossModalBatchOTLoss()(batches), x)
    assert torch.allclose(grad, torch.autograd.grad(across, x)[0], atol=1e-6)
    halves = CrossModalBatchOTLoss(four_terms=True).terms(batches)
    assert halves["sketch/sketch'"].item() == 0.0 and halves["sketch'/shape'"].item() == 0.0
    lonely = CrossModalBatchOTLoss()({"sketch": (x, lx)})
    lonely.backward()
    assert lonely.item() == 0.0 and float(x.grad.abs().sum()) == 0.0


def test_a_class_of_one_modality_alone_is_pushed_away_across() -> None:
    x = torch.tensor([[1.0, 0.1]], requires_grad=True)
    y = torch.tensor([[1.0, 0.0]])
    CrossModalBatchOTLoss()(x, torch.tensor([4]), y, torch.tensor([5])).backward()
    assert x.grad[0, 1] < 0  # descending turns x away from y


def test_one_vector_of_labels_or_embeddings_may_serve_both() -> None:
    x, labels = two(8, 8, dtype=torch.float32)["sketch"]
    shared = CrossModalBatchOTLoss().terms(x, labels, x, labels)
    copied = CrossModalBatchOTLoss().terms(x, labels, x.clone(), labels.clone())
    double = CrossModalBatchOTLoss().terms(x.double(), labels, x.double(), labels)
    for name, value in shared.items():
        assert value.item() == pytest.approx(copied[name].item(), rel=1e-6)
        assert value.item() == pytest.approx(double[name].item(), rel=1e-5)
    report = CrossModalBatchOTLoss().report(x, labels, x, labels)
    assert report["sketch/shape"] != report["sketch/sketch"]


def test_terms_with_settings_of_their_own() -> None:
    batches = two(dtype=torch.float32)
    (x, lx), (y, ly) = batches.values()
    own = BatchOTSettings(margin=1.7, gamma=6.0, lam=15.0)
    loss = CrossModalBatchOTLoss(lam=3.0, term_settings={"shape/sketch": own})  # in any order
    terms = loss.terms(batches)
    across = batch_ot_loss(x, lx, None, y, ly, margin=1.7, gamma=6.0, lam=15.0)
    assert terms["sketch/shape"].item() == pytest.approx(across.item(), rel=1e-5)
    assert terms["shape/shape"].item() == pytest.approx(batch_ot_loss(y, ly, lam=3.0).item(), rel=1e-5)
    assert "shape/sketch: BatchOTSettings(margin=1.7" in repr(loss)
    raw = BatchOTSettings(normalize=False, margin=9.0, gamma=0.3)
    mixed = CrossModalBatchOTLoss(term_settings={"shape/shape": raw}).terms(batches)
    expected = batch_ot_loss(y, ly, normalize=False, margin=9.0, gamma=0.3)
    assert mixed["shape/shape"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_presets_and_settings() -> None:
    authors = CrossModalBatchOTLoss.from_preset("author-code-shrec")
    assert authors.weights.four_terms and authors.settings == PRESETS["author-code-shrec"]
    batches = two(dtype=torch.float32)
    by_hand = oracle.terms(lists(batches, False), True, plan="transport", lam=10.0, gamma=10.0)
    assert authors(batches).item() == pytest.approx(sum(by_hand.values()), rel=1e-5)
    assert not CrossModalBatchOTLoss.from_preset("paper").weights.four_terms
    assert not CrossModalBatchOTLoss.from_preset("author-code-shrec", four_terms=False).weights.four_terms
    settings = BatchOTSettings(lam=7.0, plan="uniform", distance_power=1)
    made = CrossModalBatchOTLoss.from_settings(settings, 0.5, four_terms=True)
    assert made.settings == settings and made.weights.within == 0.5
    for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert twin(batches).item() == made(batches).item() and not twin.state_dict()
    assert "within=0.5, across=1.0, four_terms=True" in repr(made) and "plan='uniform'" in repr(made)


def test_report_tells_of_every_plan() -> None:
    batches = two(10, 1)
    (x, lx), (y, ly) = batches.values()
    loss = CrossModalBatchOTLoss(lam=9.0)
    reports = loss.report(batches)
    assert list(reports) == ["sketch/sketch", "sketch/shape"]  # one shape has nothing to meet within
    assert reports["sketch/shape"] == plan_report(x, lx, None, y, ly, settings=loss.settings)
    assert reports["sketch/sketch"] == plan_report(x, lx, settings=loss.settings)


def test_half_types_autocast_and_distances() -> None:
    batches = two(12, 8, dtype=torch.float32)
    expected = CrossModalBatchOTLoss()(batches).item()
    half = {name: (x.bfloat16().requires_grad_(), labels) for name, (x, labels) in batches.items()}
    loss = CrossModalBatchOTLoss()(half)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected, rel=0.02)
    assert all(x.grad.dtype == torch.bfloat16 for x, _ in half.values())
    with torch.autocast("cpu", torch.bfloat16):
        assert CrossModalBatchOTLoss()(batches).item() == expected
    (x, lx), (y, ly) = batches.values()
    mixed = CrossModalBatchOTLoss()({"sketch": (x.double(), lx), "shape": (y, ly)})
    assert mixed.item() == pytest.approx(expected, rel=1e-5)
    other = CrossModalBatchOTLoss(distance=distances.LpDistance(power=2))(batches)
    assert other.item() == pytest.approx(expected, rel=1e-4)


def test_descending_brings_the_modalities_together() -> None:
    batches = two(20, 20, 8, dtype=torch.float32)
    labels = torch.arange(20) % 5
    rows = [x.requires_grad_() for x, _ in batches.values()]
    optimiser = torch.optim.Adam(rows, lr=0.05)
    loss = CrossModalBatchOTLoss()
    for _ in range(150):
        optimiser.zero_grad()
        value = loss(rows[0], labels, rows[1], labels)
        value.backward()
        optimiser.step()
    unit = [torch.nn.functional.normalize(z.detach()) for z in rows]
    assert value.item() < 0.01
    assert bool((labels[torch.cdist(*unit).argmin(1)] == labels).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: {}, "there are no batches"),
        (lambda b: b | {"shape": (b["shape"][0][:, :3], b["shape"][1])}, "one dimension, got {'sketch': 5"),
        (lambda b: b | {"shape": (b["shape"][0], b["shape"][1][:3])}, "3 labels of 'shape' came with 7"),
        (
            lambda b: b | {"shape": (b["shape"][0] * float("nan"), b["shape"][1])},
            "embeddings of 'shape' hold",
        ),
        (lambda b: b | {"a/b": b["shape"]}, "must not be empty or hold / or '"),
        (lambda b: b["sketch"][0], "two modalities are given as"),
    ],
)
def test_batches_that_cannot_be_used_are_named(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrossModalBatchOTLoss()(change(two()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"within": -1.0}, "within must be finite and at least 0, got -1.0"),
        ({"within": {"sketch": float("nan")}}, r"within\['sketch'\] must be finite"),
        ({"across": {("sketch", "sketch"): 1.0}}, "must name pairs as"),
        ({"across": {"sketch": 1.0}}, "must name pairs as"),
        ({"across": {("a", "b"): 1.0, ("b", "a"): 1.0}}, "in both orders"),
        ({"lam": -1.0}, "lam must be between"),
        ({"within": {"sketches": 1.0}}, "weights name 'sketches', but the batches are 'sketch', 'shape'"),
        ({"within": 0.0, "across": 0.0}, "no term has a positive weight"),
        (
            {"term_settings": {"sketch/model": BatchOTSettings()}},
            "term_settings name 'sketch/model', but the",
        ),
    ],
)
def test_options_that_fit_nothing_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrossModalBatchOTLoss(**options)(two())


def test_labels_beside_a_mapping_are_refused() -> None:
    with pytest.raises(ValueError, match="the only argument"):
        CrossModalBatchOTLoss()(two(), torch.arange(3))


def test_embeddings_that_overflow_are_refused_with_their_length() -> None:
    (x, lx), (y, ly) = two(dtype=torch.float32).values()
    with pytest.raises(ValueError, match="overflow"):
        CrossModalBatchOTLoss(normalize=False)(x * 1e25, lx, y, ly)


def test_costs_what_its_terms_cost() -> None:
    """Two modalities without their term across are two losses of one batch."""
    (x, lx), (y, ly) = two(dtype=torch.float32).values()
    loss = BatchOTLoss(lam=8.0)
    both = CrossModalBatchOTLoss(across=0.0, lam=8.0)(x, lx, y, ly)
    assert both.item() == pytest.approx((loss(x, lx) + loss(y, ly)).item(), rel=1e-5)


def test_pickles_of_earlier_versions_load() -> None:
    """Their weights are a class of another module."""
    loss = CrossModalBatchOTLoss({"sketch": 0.5, "shape": 1.0}, lam=8.0)
    now, then = b"batchot.losses.problem\nTermWeights", b"batchot.losses.cross_modal_terms\nTermWeights"
    kept = pickle.dumps(loss, protocol=0)
    assert now in kept
    assert pickle.loads(kept.replace(now, then))(two()) == loss(two())
