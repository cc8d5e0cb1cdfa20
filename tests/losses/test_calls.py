"""Calls of the loss that public bug reports of other libraries brought up: each with its right value."""

from __future__ import annotations

import time
import warnings

import pytest
import torch

from batchot import BatchOTLoss, CrossModalBatchOTLoss, batch_ot_loss


def pairs(*indices: list[int]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(index, dtype=torch.long) for index in indices)


@pytest.fixture
def five() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 0, 1])


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_pairs_on_which_no_plan_has_equal_sums(five) -> None:
    x, labels = five
    given = pairs([0, 1, 2], [3, 3, 3], [2], [4])
    unit = torch.nn.functional.normalize(x)
    d2 = torch.cdist(unit, unit).square()
    # These pairs are a tree: the uniform plan is the only one that has its marginals.
    expected = 0.5 * (d2[0, 3] + d2[1, 3] + d2[2, 3] + (1 - d2[2, 4]).clamp(min=0)).item() / 4
    for steps in (10, 1000, 10_000):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            start = time.process_time()
            got = batch_ot_loss(x, labels, given, max_iterations=steps).item()
        assert got == pytest.approx(expected, rel=1e-5)
        assert time.process_time() - start < 0.5


def test_given_pairs_are_what_they_are_given_as(batch) -> None:
    x, labels = batch
    other = int((labels != labels[0]).nonzero()[0])
    same = int((labels == labels[0]).nonzero()[1])
    unit = torch.nn.functional.normalize(x)
    d2 = torch.cdist(unit, unit).square()
    assert batch_ot_loss(x, labels, pairs([0], [other], [], [])).item() == pytest.approx(
        0.5 * d2[0, other].item(), rel=1e-5
    )
    assert batch_ot_loss(x, labels, pairs([], [], [0], [same]), margin=4.0).item() == pytest.approx(
        0.5 * (4 - d2[0, same].item()), rel=1e-5
    )
    for k, (triplet, positive) in enumerate(
        ((pairs([0], [other], [same]), other), (pairs([0], [same], [other]), same))
    ):
        negative = same if k == 0 else other
        expected = 0.25 * (d2[0, positive] + 4 - d2[0, negative]).item()
        assert batch_ot_loss(x, labels, triplet, margin=4.0).item() == pytest.approx(expected, rel=1e-5)
        assert batch_ot_loss(x, None, triplet, margin=4.0).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pairs([0], [5], [], []), "columns of the batch 5 to 5, but there are 5"),
        (pairs([-1], [0], [], []), "embeddings -1 to -1, but there are 5"),
        (pairs([0, 1], [1], [], []), r"as long as those they are paired with.*\(2,\), \(1,\)"),
    ],
)
def test_pairs_that_do_not_exist_are_refused(five, given, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch_ot_loss(*five, given)


def test_all_pairs_given_is_the_loss_of_the_batch(batch) -> None:
    x, labels = batch
    x = x.double().requires_grad_()
    alike = labels[:, None] == labels
    itself = torch.eye(24, dtype=torch.bool)
    given = (*(alike & ~itself).nonzero(as_tuple=True), *(~alike).nonzero(as_tuple=True))
    expected, got = (
        batch_ot_loss(x, labels, tolerance=1e-12),
        batch_ot_loss(x, labels, given, tolerance=1e-12),
    )
    assert got.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(loss, x)[0] for loss in (expected, got)]
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ignored", [-1, 255])
def test_ignored_labels_are_left_out(batch, dtype: torch.dtype, ignored: int) -> None:
    x, labels = batch[0].to(dtype).requires_grad_(), batch[1].clone()
    labels[[2, 7, 8]] = ignored
    kept = labels != ignored
    options = {} if ignored == -1 else {"ignore_label": ignored}
    loss = batch_ot_loss(x, labels, **options)
    assert loss.item() == batch_ot_loss(x[kept], labels[kept]).item()
    (grad,) = torch.autograd.grad(loss, x)
    assert grad[~kept].abs().max() == 0 and (grad[kept].abs().sum(1) > 0).all()
    two = batch_ot_loss(x[:10], labels[:10], None, x[10:], labels[10:], **options)
    first = batch_ot_loss(x[:10][kept[:10]], labels[:10][kept[:10]], None, x[10:], labels[10:])
    assert two.item() == first.item()
    assert BatchOTLoss(num_classes=5, embedding_size=7, **options)(x, labels).item() == pytest.approx(
        BatchOTLoss(num_classes=5, embedding_size=7)(x[kept], labels[kept]).item()
    )
    batches, without = {"a": (x, labels), "b": (x[:9], labels[:9])}, kept[:9]
    expected = {"a": (x[kept], labels[kept]), "b": (x[:9][without], labels[:9][without])}
    assert CrossModalBatchOTLoss(**options)(batches).item() == CrossModalBatchOTLoss()(expected).item()
    # Without such a label every one counts.
    assert batch_ot_loss(x, labels, ignore_label=None).item() != loss.item()
    nothing = batch_ot_loss(x, torch.full((24,), ignored), **options)
    nothing.backward()
    assert nothing.item() == 0 and x.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool])
def test_labels_of_any_type_and_as_a_column(batch, dtype: torch.dtype) -> None:
    x, labels = batch
    labels = labels % 2
    expected = batch_ot_loss(x, labels).item()
    assert batch_ot_loss(x, labels.to(dtype)).item() == expected
    assert batch_ot_loss(x, labels.to(dtype).unsqueeze(1)).item() == expected
    assert batch_ot_loss(x, labels.to(dtype), None, x.clone(), labels.unsqueeze(1)).item() > 0


def test_labels_that_say_nothing_are_refused(batch) -> None:
    x, labels = batch
    labels = labels.float()
    labels[[3, 5]] = float("nan")
    with pytest.raises(ValueError, match="labels hold NaN in 2 of 24 rows: 3, 5"):
        batch_ot_loss(x, labels)
    with pytest.raises(ValueError, match="ref_labels hold NaN"):
        batch_ot_loss(x, batch[1], None, x.clone(), labels)
    with pytest.raises(ValueError, match="labels must be a tensor, got list"):
        batch_ot_loss(x, batch[1].tolist())
    with pytest.raises(ValueError, match=r"\(n,\) or \(n, 1\), got \(1, 24\)"):
        batch_ot_loss(x, batch[1].unsqueeze(0))


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(7, 6, bias=False)
        self.loss = BatchOTLoss(num_classes=5, embedding_size=6)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.loss(self.linear(x), labels)


@pytest.mark.parametrize("start", ["context", "moved", "emptied"])
def test_anchors_survive_the_meta_device(batch, start: str) -> None:
    torch.manual_seed(0)
    model = Model()
    expected = model(*batch).item()
    if start == "context":
        with torch.device("meta"):
            other = Model()
    else:
        other = Model().to("meta" if start == "moved" else "cpu")
    other = other.to_empty(device="cpu")
    assert other.load_state_dict(model.state_dict()).missing_keys == []
    assert other(*batch).item() == expected
    assert torch.equal(other.double().loss.anchors.points, model.loss.anchors.points.double())


def test_a_byte_of_255_is_a_label(batch) -> None:
    x, labels = batch
    labels = torch.where(labels == labels[0], 255, labels.clamp(min=0, max=254))
    expected = batch_ot_loss(x, labels).item()
    assert batch_ot_loss(x, labels.to(torch.uint8)).item() == pytest.approx(expected, rel=1e-6)
    left = batch_ot_loss(x, labels.to(torch.uint8), ignore_label=255).item()
    assert left == pytest.approx(batch_ot_loss(x[labels != 255], labels[labels != 255]).item(), rel=1e-6)


@pytest.mark.parametrize("wrong", [[0], torch.tensor([0.5]), torch.tensor([True])])
def test_pairs_of_no_whole_numbers_are_refused(five, wrong) -> None:
    x, labels = five
    one = torch.tensor([1])
    with pytest.raises(ValueError, match="indices_tuple must hold tensors of whole numbers, got"):
        batch_ot_loss(x, labels, (one, wrong, one, one))
    none = torch.tensor([])  # of no type in particular
    assert batch_ot_loss(x, labels, (none, none, none, none)).item() == 0


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("normalize", [True, False])
def test_rows_too_long_for_a_norm_are_refused(five, kind: torch.dtype, normalize: bool) -> None:
    x, labels = five
    huge = x.to(kind).clone()
    huge[1] *= 1e200 if kind == torch.float64 else 1e25
    with pytest.raises(ValueError, match=r"rows up to .* long.*training has diverged"):
        batch_ot_loss(huge, labels, normalize=normalize)
    assert batch_ot_loss(x.to(kind) * 1e15, labels).item() == pytest.approx(
        batch_ot_loss(x.to(kind), labels).item(), rel=1e-2
    )
