"""The digits of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits as load_original

from batchot.data import load_dataset, load_digits


def test_every_digit_is_in_one_part() -> None:
    splits = load_digits()
    assert (len(splits.train), len(splits.test)) == (1297, 500)
    pixels = torch.cat([splits.train.images, splits.test.images]).flatten(1).numpy()
    labels = torch.cat([splits.train.labels, splits.test.labels]).numpy()
    original = load_original()
    mine = sorted(zip(map(bytes, pixels), labels, strict=True))
    theirs = np.rint(original.data * 255 / 16).astype(np.uint8)
    assert mine == sorted(zip(map(bytes, theirs), original.target, strict=True))
    assert pixels.max() == 255


def test_division_is_stratified_and_always_the_same() -> None:
    first, second = load_digits(), load_dataset("digits")
    assert torch.equal(first.train.images, second.train.images)
    shares = first.test.labels.bincount() / (first.test.labels.bincount() + first.train.labels.bincount())
    assert shares.sub(500 / 1797).abs().max() < 0.005
