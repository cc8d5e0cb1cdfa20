"""Batches of several towers: a function of seed, epoch and number, resumed anywhere."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from batchot.data import (
    Augmentation,
    Images,
    Normalization,
    PairedBatches,
    PairedTrainingBatches,
    Preparation,
)

Batch = dict[str, tuple[Tensor, Tensor]]


def images(n: int, size: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 1, size, size), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(n) % 3, ("a", "b", "c"))


TOWERS = {"sketch": images(24, 6, 0), "shape": images(9, 4, 1)}


def make(seed: int = 0, ahead: int = 2, augment: bool = True) -> PairedTrainingBatches:
    sampler = PairedBatches({name: s.labels for name, s in TOWERS.items()}, {"sketch": 6, "shape": 9}, 3)
    augmentation = Augmentation(flip=True, max_shift=1) if augment else None
    prepare = {name: Preparation(Normalization((0.5,), (0.5,)), augmentation) for name in TOWERS}
    return PairedTrainingBatches(TOWERS, sampler, prepare, seed=seed, ahead=ahead)


def same(a: Iterable[Batch], b: Iterable[Batch]) -> bool:
    return all(
        x.keys() == y.keys() and all(torch.equal(u, v) for k in x for u, v in zip(x[k], y[k], strict=True))
        for x, y in zip(a, b, strict=True)
    )


def test_samples_that_the_sampler_names() -> None:
    loader = make(augment=False)
    order = loader.batch_sampler.epoch(0, 0)
    for batch, indices in zip(loader, order, strict=True):
        assert list(batch) == ["sketch", "shape"]
        for tower, (x, y) in batch.items():
            assert torch.equal(y, TOWERS[tower].labels[indices[tower]])
            expected = TOWERS[tower].images[indices[tower]].float() / 255 / 0.5 - 1
            torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("ahead", [0, 2])
def test_function_of_seed_and_epoch(ahead: int) -> None:
    first = make(ahead=ahead)
    epochs = [list(first) for _ in range(3)]
    second = make()
    second.set_epoch(2)
    torch.manual_seed(7)
    assert same(second, epochs[2])
    assert not same(epochs[0], epochs[1])
    assert not same(make(seed=1), epochs[0])


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resumed_within_and_at_the_end_of_an_epoch(stop: int) -> None:
    whole = make()
    expected = [*whole, *whole]
    assert len(whole) == 4
    begun = make()
    iterator = iter(begun)
    handed_out = [next(iterator) for _ in range(stop)]
    resumed = make()
    resumed.load_state_dict(begun.state_dict())
    rest = [*resumed, *(resumed if stop < 4 else ())]
    assert same([*handed_out, *rest], expected)
    iterator.close()  # type: ignore[attr-defined]


def test_towers_are_augmented_each_by_its_own_numbers() -> None:
    """One picture in two towers: flipped and shifted in different ways in some batch."""
    samples = images(12, 6, 0)
    towers = {"left": samples, "right": samples}
    sampler = PairedBatches({name: s.labels for name, s in towers.items()}, {"left": 12, "right": 12}, 3)
    order = sampler.epoch(0, 0)[0]
    plain = Preparation(None, Augmentation(flip=True, max_shift=2))
    batch = next(iter(PairedTrainingBatches(towers, sampler, {"left": plain, "right": plain})))
    left, right = (batch[name][0][order[name].argsort()] for name in towers)
    assert not torch.equal(left, right)


def test_towers_must_agree() -> None:
    loader = make()
    with pytest.raises(ValueError, match=r"samples \(sketch\), sampler \(sketch, shape\)"):
        PairedTrainingBatches({"sketch": TOWERS["sketch"]}, loader.batch_sampler, loader.prepare)
