from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import losses

from batchot import BatchOTLoss, CrossModalBatchOTLoss
from batchot.losses import CrossModal


def two() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(n, 6, generator=generator, requires_grad=True) for n in (12, 9))
    return {"sketch": (x, torch.arange(12) % 4), "shape": (y, torch.arange(9) % 4)}


LIBRARY = [
    losses.ContrastiveLoss(),
    losses.TripletMarginLoss(),
    losses.SupConLoss(),
    losses.GeneralizedLiftedStructureLoss(),
    losses.MultiSimilarityLoss(),
    BatchOTLoss(plan="uniform"),
]


@pytest.mark.parametrize("loss", LIBRARY, ids=lambda loss: type(loss).__name__)
def test_sums_the_terms_of_any_loss(loss: torch.nn.Module) -> None:
    batches = two()
    (x, lx), (y, ly) = batches.values()
    value = CrossModal(loss, {"sketch": 0.5, "shape": 2.0}, 3.0)(batches)
    expected = 0.5 * loss(x, lx) + 2.0 * loss(y, ly) + 3.0 * loss(x, lx, ref_emb=y, ref_labels=ly)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    grads = torch.autograd.grad(value, [x, y])
    for got, wanted in zip(grads, torch.autograd.grad(expected, [x, y]), strict=True):
        assert wanted.norm() > 0 and torch.allclose(got, wanted, atol=1e-6)
    terms = CrossModal(loss, four_terms=True).terms(batches)
    assert list(terms) == ["sketch/sketch'", "shape/shape'", "sketch/shape", "sketch'/shape'"]
    last = loss(x[6:], lx[6:], ref_emb=y[5:], ref_labels=ly[5:])
    assert terms["sketch'/shape'"].item() == pytest.approx(last.item(), rel=1e-5)


@pytest.mark.parametrize("loss", LIBRARY, ids=lambda loss: type(loss).__name__)
def test_one_vector_of_labels_serves_both(loss: torch.nn.Module) -> None:
    """The library leaves the diagonal out where labels and ref_labels are one tensor."""
    x, labels = two()["sketch"]
    y = torch.randn(12, 6, generator=torch.Generator().manual_seed(2))
    shared = CrossModal(loss, within=0.0)(x, labels, y, labels)
    assert shared.item() == CrossModal(loss, within=0.0)(x, labels, y, labels.clone()).item()


def test_lists_the_terms_of_the_transport_loss() -> None:
    for four_terms in (False, True):
        ours = CrossModalBatchOTLoss(0.3, 2.0, four_terms=four_terms, plan="uniform")
        twin = CrossModal(BatchOTLoss(plan="uniform"), 0.3, 2.0, four_terms=four_terms)
        assert list(ours.terms(two())) == list(twin.terms(two()))
        assert ours(two()).item() == pytest.approx(twin(two()).item(), rel=1e-5)
    assert "within=0.3, across=2.0, four_terms=True" in repr(twin)


def test_one_sample_within_and_losses_that_have_no_term_across() -> None:
    (x, lx), (y, ly) = two().values()
    assert CrossModal(losses.SupConLoss()).terms(x[:1], lx[:1], y, ly)["sketch/sketch"].item() == 0.0
    with pytest.raises(ValueError, match="ref_emb"):
        CrossModal(losses.ProxyAnchorLoss(4, 6))(x, lx, y, ly)
