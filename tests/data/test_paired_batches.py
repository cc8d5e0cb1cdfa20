"""Batches in which every tower has the same classes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from batchot.data import PairedBatches


def draw_labels(counts: list[int], seed: int) -> Tensor:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_same_classes_equally_many_halves_balanced(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    sketches = draw_labels(data.draw(st.lists(st.integers(1, 9), min_size=n, max_size=n)), 0)
    shapes = draw_labels(data.draw(st.lists(st.integers(1, 9), min_size=n, max_size=n + 3)), 1)
    classes = data.draw(st.integers(1, n))
    sizes = {tower: data.draw(st.integers(classes, 24)) for tower in ("sketch", "shape")}
    extra = data.draw(st.integers(0, 5)) if int(shapes.max()) >= n else 0
    labels = {"sketch": sketches, "shape": shapes}
    sampler = PairedBatches(labels, sizes, classes, extra={"shape": extra})
    batches = sampler.epoch(seed=3, epoch=1)
    assert len(batches) == len(sampler) == max(1, round(len(sketches) / sizes["sketch"]))
    for batch in batches:
        shown = {tower: labels[tower][indices] for tower, indices in batch.items()}
        assert len(shown["sketch"]) == sizes["sketch"] and len(shown["shape"]) == sizes["shape"] + extra
        paired = shown["shape"][shown["shape"] < n]
        assert len(paired) == sizes["shape"]
        present = shown["sketch"].unique()
        assert len(present) == classes and torch.equal(present, paired.unique())
        for of_tower in (*shown["sketch"].tensor_split(2), paired, shown["sketch"]):
            counts = of_tower.bincount(minlength=n)[present]
            assert counts.max() - counts.min() <= 1
        others = [int((half >= n).sum()) for half in _halves(shown["shape"])]
        assert abs(others[0] - others[1]) <= 1
        for half in _halves(shown["shape"]):
            counts = half[half < n].bincount(minlength=n)[present]
            assert counts.max() - counts.min() <= 1


def _halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    return labels[: len(labels) // 2], labels[len(labels) // 2 :]


def test_classes_and_samples_take_turns() -> None:
    labels = {"sketch": draw_labels([20, 5, 5, 5, 5], 0), "shape": draw_labels([3, 40, 7, 7, 7], 1)}
    sampler = PairedBatches(labels, {"sketch": 6, "shape": 9}, classes_per_batch=3)
    batches = sampler.epoch(seed=0, epoch=0)
    assert len(batches) == round(40 / 6)
    drawn_classes = torch.cat([labels["sketch"][batch["sketch"]].unique() for batch in batches]).bincount()
    assert drawn_classes.max() - drawn_classes.min() <= 1
    for tower, of_tower in labels.items():
        used = torch.cat([batch[tower] for batch in batches]).bincount(minlength=len(of_tower))
        for label in range(5):
            of_class = used[of_tower == label]
            assert of_class.max() - of_class.min() <= 1
    for batch in batches:  # only the class of 3 shapes is smaller than what a batch asks for, and is not
        for tower in labels:
            assert len(batch[tower].unique()) == len(batch[tower])


def test_an_epoch_shows_every_query_where_sizes_divide() -> None:
    labels = {"sketch": torch.arange(40) % 4, "shape": torch.arange(8) % 4}
    batches = PairedBatches(labels, {"sketch": 8, "shape": 8}, classes_per_batch=4).epoch(0, 5)
    seen = torch.cat([batch["sketch"] for batch in batches])
    assert torch.equal(seen.sort().values, torch.arange(40))


def test_function_of_seed_and_epoch_and_of_its_own_tower() -> None:
    labels = {"sketch": draw_labels([9, 9, 9], 0), "shape": draw_labels([5, 6, 7, 8], 1)}

    def make(size: int, seed: int, epoch: int) -> tuple[dict[str, Tensor], ...]:
        return PairedBatches(labels, {"sketch": 6, "shape": size}, 3, extra={"shape": 2}).epoch(seed, epoch)

    first, again, other = make(6, 1, 2), make(6, 1, 2), make(9, 1, 2)
    for batch, same, wider in zip(first, again, other, strict=True):
        assert all(torch.equal(batch[tower], same[tower]) for tower in labels)
        assert torch.equal(batch["sketch"], wider["sketch"])
    for different in (make(6, 1, 3), make(6, 2, 2)):
        assert any(not torch.equal(a["shape"], b["shape"]) for a, b in zip(first, different, strict=True))


def test_allowed_classes_only() -> None:
    labels = {"sketch": torch.arange(12) % 3, "shape": torch.arange(12) % 3}
    batches = PairedBatches(labels, {"sketch": 4, "shape": 4}, 2, allowed={0, 2}).epoch(0, 0)
    assert len(batches) == 2
    shown = {int(label) for batch in batches for tower in labels for label in labels[tower][batch[tower]]}
    assert shown == {0, 2}


def test_first_tower_makes_the_epoch() -> None:
    sketches, shapes = torch.arange(30) % 3, torch.arange(300) % 3
    sizes = {"sketch": 6, "shape": 6}
    assert len(PairedBatches({"sketch": sketches, "shape": shapes}, sizes, 3)) == 5
    assert len(PairedBatches({"shape": shapes, "sketch": sketches}, sizes, 3)) == 50


LABELS = {"sketch": torch.arange(12) % 3, "shape": torch.arange(12) % 4}
SIZES = {"sketch": 6, "shape": 6}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": {"sketch": 6}}, r"labels \(sketch, shape\), sizes \(sketch\)"),
        ({"classes_per_batch": 4}, r"must lie in 1 .. 3, the number of classes that every tower has, got 4"),
        ({"sizes": {"sketch": 2, "shape": 6}}, r"2 samples of sketch in a batch cannot show 3 classes"),
        ({"allowed": [0, 3]}, r"sketch has no samples of the allowed classes \[3\]"),
        ({"extra": {"sketch": 1}}, r"0 for sketch where all of its classes are paired, got 1"),
        ({"extra": {"photo": 1}}, r"extra \(photo\) must be the same"),
        (
            {"labels": {"sketch": LABELS["sketch"][None], "shape": LABELS["shape"]}},
            r"shape \(n,\), got \(1, 12\)",
        ),
    ],
)
def test_wrong_arguments(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"labels": LABELS, "sizes": SIZES, "classes_per_batch": 3, **changes}
    with pytest.raises(ValueError, match=message):
        PairedBatches(**arguments)  # type: ignore[arg-type]


def test_an_epoch_can_have_a_length_of_its_own():
    labels = {"sketch": torch.arange(40) % 2, "shape": torch.arange(6) % 2}
    batches = PairedBatches(labels, {"sketch": 4, "shape": 4}, classes_per_batch=2, batches=3)
    assert len(batches) == len(batches.epoch(seed=0, epoch=0)) == 3
    with pytest.raises(ValueError, match="batches must be at least 1"):
        PairedBatches(labels, {"sketch": 4, "shape": 4}, classes_per_batch=2, batches=0)
