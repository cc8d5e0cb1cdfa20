"""Which samples go into which batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.data import BalancedBatches, PlainBatches
from batchot.data.batches.samplers import draw_in_turns


@given(n=st.integers(1, 60), batch_size=st.integers(1, 20), drop_last=st.booleans(), epoch=st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_plain_batches_cut_a_permutation(n: int, batch_size: int, drop_last: bool, epoch: int) -> None:
    if drop_last and n < batch_size:
        with pytest.raises(ValueError, match=r"too few for one batch"):
            PlainBatches(n, batch_size)
        return
    sampler = PlainBatches(n, batch_size, drop_last)
    batches = sampler.epoch(seed=1, epoch=epoch)
    assert len(batches) == len(sampler)
    drawn = torch.cat(batches).tolist()
    assert len(set(drawn)) == len(drawn) == (n - n % batch_size if drop_last else n)
    assert set(drawn) <= set(range(n))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


@pytest.mark.parametrize(
    "sampler", [PlainBatches(50, 8), BalancedBatches(torch.arange(50) % 5, 10, classes_per_batch=2)]
)
def test_function_of_seed_and_epoch(sampler) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat(sampler.epoch(seed, epoch)).tolist()

    first = order(3, 7)
    order(0, 0)
    torch.manual_seed(9)
    assert order(3, 7) == first
    assert order(3, 8) != first
    assert order(4, 7) != first


@given(
    counts=st.lists(st.integers(1, 25), min_size=1, max_size=6),
    classes_per_batch=st.integers(1, 6),
    share=st.integers(1, 6),
    seed=st.integers(0, 3),
)
@settings(deadline=None, max_examples=150)
def test_balanced_batches(counts: list[int], classes_per_batch: int, share: int, seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)) * 3, torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    batch_size = classes_per_batch * share
    if classes_per_batch > len(counts) or batch_size > len(labels):
        with pytest.raises(ValueError, match=r"too few|classes_per_batch must lie in"):
            BalancedBatches(labels, batch_size, classes_per_batch)
        return
    sampler = BalancedBatches(labels, batch_size, classes_per_batch)
    batches = sampler.epoch(seed, epoch=2)
    assert len(batches) == len(sampler) == len(labels) // batch_size

    times_of_class = dict.fromkeys(labels.tolist(), 0)
    times_of_sample = torch.zeros(len(labels), dtype=torch.int64)
    for batch in batches:
        assert batch.shape == (batch_size,)
        classes = labels[batch].view(
            share, classes_per_batch
        )  # every row names the same classes in the same order
        assert (classes == classes[0]).all()
        assert len(classes[0].unique()) == classes_per_batch
        for label in classes[0].tolist():
            times_of_class[label] += 1
            drawn = batch[labels[batch] == label]
            assert (
                len(drawn.unique()) == min(share, int((labels == label).sum()))
                or share > (labels == label).sum()
            )
        times_of_sample += batch.bincount(minlength=len(labels))
    # Permutation after permutation, cut at a row so that no sample is twice in it: at most one turn apart ...
    assert max(times_of_class.values()) - min(times_of_class.values()) <= 1
    for label in times_of_class:
        times = times_of_sample[labels == label]
        assert times.max() - times.min() <= 1


def test_all_samples_of_equal_classes_are_seen_once() -> None:
    labels = torch.arange(60) % 5
    drawn = torch.cat(BalancedBatches(labels, 20, classes_per_batch=5).epoch(0, 0))
    assert sorted(drawn.tolist()) == list(range(60))


def test_halves_of_a_batch_are_balanced() -> None:
    labels = torch.arange(80) % 4
    for batch in BalancedBatches(labels, 16, classes_per_batch=4).epoch(0, 0):
        assert labels[batch[:8]].bincount().tolist() == labels[batch[8:]].bincount().tolist() == [2] * 4


@pytest.mark.parametrize(
    ("labels", "batch_size", "classes_per_batch", "message"),
    [
        (torch.arange(20) % 4, 10, 4, "10 is no multiple of classes_per_batch 4; nearest are 8 and 12"),
        (torch.arange(20) % 4, 3, 4, "3 is no multiple of classes_per_batch 4; nearest are 4 and 4"),
        (torch.arange(20) % 4, 10, 5, r"must lie in 1 \.\. 4, the number of classes, got 5"),
        (torch.arange(20) % 4, 10, 0, "got 0"),
        (torch.arange(20) % 4, 24, 4, "20 samples are too few for one batch of 24"),
        (torch.arange(20) % 4, 0, 4, "batch_size must be at least 1, got 0"),
        (torch.zeros(4, 5), 4, 1, r"shape \(n,\), got \(4, 5\)"),
        (torch.zeros(0), 4, 1, "0 samples are too few"),
    ],
)
def test_balanced_batches_refused(labels, batch_size: int, classes_per_batch: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BalancedBatches(labels, batch_size, classes_per_batch)


@pytest.mark.parametrize(("n", "batch_size"), [(0, 1), (5, 6), (5, 0), (5, -1)])
def test_plain_batches_refused(n: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match=r"too few|at least 1"):
        PlainBatches(n, batch_size)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(0, 9), max_size=12), st.integers(0, 3))
def test_rows_of_any_length_are_drawn_in_turns(n: int, lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    drawn = draw_in_turns(torch.arange(n) + 100, torch.tensor(lengths, dtype=torch.int64), generator)
    assert len(drawn) == sum(lengths)
    counts = (drawn - 100).bincount(minlength=n)
    assert int(counts.max()) - int(counts.min()) <= 1
    for row in drawn.split(lengths):
        assert len(row) > n or len(row.unique()) == len(row)
