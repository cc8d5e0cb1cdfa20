from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot import BatchOTLoss, batch_ot_loss
from batchot.losses import ClassAnchors
from oracles import batch_ot as naive
from oracles.anchors import loss_with_anchors


@pytest.mark.parametrize("lam", [0.5, 5.0, 20.0])
@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_naive_loops(batch, lam: float, weight: float, dtype: torch.dtype) -> None:
    x, labels = batch
    classes = int(labels.max()) + 3  # some classes are not in the batch
    loss = BatchOTLoss(
        lam=lam, margin=1.2, num_classes=classes, embedding_size=x.shape[1], anchor_weight=weight
    )
    assert loss.anchors is not None
    expected = loss_with_anchors(x, labels, loss.anchors.points, weight, lam=lam, gamma=3.0, margin=1.2)
    assert loss(x.to(dtype), labels).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_is_that_of_the_two_problems_with_their_plans_held_fixed(batch) -> None:
    x, labels = batch
    x = x.double().requires_grad_()
    loss = BatchOTLoss(num_classes=8, embedding_size=x.shape[1], anchor_weight=0.3)
    assert loss.anchors is not None
    unit = torch.nn.functional.normalize(x)
    points = loss.anchors.points.double()
    with torch.no_grad():
        rows, centres = unit.tolist(), points.tolist()
        M = naive.misplacements(rows, labels.tolist(), centres, list(range(8)))
        D = [[2.718281828459045 ** (-3.0 * e) for e in row] for row in M]
        T = torch.tensor(naive.transport(D, 5.0), dtype=torch.float64)
    delta = ((unit[:, None] - points[None]) ** 2).sum(2)
    own = labels[:, None] == torch.arange(8)
    held = (T * torch.where(own, delta, (1.0 - delta).clamp(min=0))).sum()
    expected = torch.autograd.grad(0.7 * batch_ot_loss(x, labels) + 0.3 * held, x)[0]
    got = torch.autograd.grad(loss(x, labels), x)[0]
    assert torch.allclose(got, expected, atol=1e-7)


@given(st.integers(1, 40), st.integers(1, 24))
@settings(deadline=None, max_examples=40)
def test_anchors_are_unit_and_orthogonal_as_far_as_that_can_be(classes: int, width: int) -> None:
    points = ClassAnchors(classes, width).points
    assert points.shape == (classes, width)
    cosines = points @ points.T
    assert torch.allclose(cosines.diagonal(), torch.ones(classes), atol=1e-5)
    for first in range(0, classes, width):
        block = cosines[first : first + width, first : first + width]
        assert torch.allclose(block, torch.eye(len(block)), atol=1e-5)
    if width > 8:  # in few dimensions the bases, drawn independently, can come close to each other
        assert float((cosines - torch.eye(classes)).max()) < 0.99


def test_anchors_are_the_same_everywhere_and_touch_no_random_numbers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    one = ClassAnchors(7, 5)
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(one.points, ClassAnchors(7, 5).points)
    assert torch.equal(one.points, ClassAnchors(9, 5).points[:7])  # a new class moves no old one
    assert not one.state_dict()


def test_two_batches_both_go_to_the_anchors(batch) -> None:
    x, labels = batch
    loss = BatchOTLoss(num_classes=8, embedding_size=x.shape[1], anchor_weight=1.0)
    whole = loss(x, labels)
    assert torch.allclose(loss(x[:10], labels[:10], ref_emb=x[10:], ref_labels=labels[10:]), whole)


def test_samples_at_their_anchors_cost_nothing() -> None:
    loss = BatchOTLoss(num_classes=4, embedding_size=6)
    assert loss.anchors is not None
    labels = torch.tensor([0, 1, 2, 3, 0, 2])
    assert loss(loss.anchors.points[labels], labels).item() == pytest.approx(0.0, abs=1e-6)
    wrong = loss.anchors.points[(labels + 1) % 4]
    assert loss(wrong, labels).item() > 0.5


def test_mistakes_are_told(batch) -> None:
    x, labels = batch
    d = x.shape[1]
    with pytest.raises(ValueError, match="need num_classes and embedding_size"):
        BatchOTLoss(num_classes=4)
    with pytest.raises(ValueError, match="need normalize=True"):
        BatchOTLoss(num_classes=4, embedding_size=d, normalize=False)
    with pytest.raises(ValueError, match=r"anchor_weight must be between 0 and 1, got 1\.5"):
        BatchOTLoss(num_classes=4, embedding_size=d, anchor_weight=1.5)
    with pytest.raises(ValueError, match="at least 1, got 0 and 3"):
        ClassAnchors(0, 3)
    loss = BatchOTLoss(num_classes=2, embedding_size=d)
    with pytest.raises(
        ValueError, match=r"labels run from 0 to \d+, but there are anchors of the classes 0 to 1"
    ):
        loss(x, labels)
    with pytest.raises(ValueError, match=f"have {d} dimensions, the embeddings {d - 1}"):
        loss(x[:, 1:], labels % 2)
    with pytest.raises(ValueError, match="whole numbers as labels"):
        loss(x, (labels % 2).double())
    pairs = (torch.tensor([0]), torch.tensor([1]), torch.tensor([0]), torch.tensor([2]))
    with pytest.raises(ValueError, match="need labels of all samples"):
        loss(x, None, pairs)


def test_weight_0_is_the_loss_without_anchors(batch) -> None:
    x, labels = batch
    loss = BatchOTLoss(num_classes=2, embedding_size=x.shape[1], anchor_weight=0.0)
    assert torch.equal(loss(x, labels), batch_ot_loss(x, labels))


def test_pickles_of_earlier_versions_load() -> None:
    """Their anchors are a class of another module."""
    loss = BatchOTLoss(num_classes=3, embedding_size=4)
    now, then = b"batchot.losses.batch_ot\nClassAnchors", b"batchot.losses.anchors\nClassAnchors"
    kept = pickle.dumps(loss, protocol=0)
    assert now in kept
    old = pickle.loads(kept.replace(now, then))
    assert loss.anchors is not None and old.anchors.points.equal(loss.anchors.points)
