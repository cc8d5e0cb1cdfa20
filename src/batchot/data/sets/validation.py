"""A part of the training samples that stands in for the test set while settings are chosen."""

from __future__ import annotations

import math
from typing import TypeVar

import torch

from batchot.data.images import Splits
from batchot.data.samples import Samples
from batchot.errors import DataError

S = TypeVar("S", bound=Samples)


def held_out(splits: Splits[S], share: float) -> Splits[S]:
    """Replace the test samples by the last training samples of each class.

    The last ones and not random ones: collections such as ModelNet list near copies of a shape one after the other,
    and a copy of a training shape in the validation part makes every choice look better than it is.

    Args:
        splits: a data set; its test part is dropped
        share: of the samples of each class, rounded up, that is held out; a class of one sample stays in training

    Returns:
        The remaining training samples, and the held-out ones as test samples.

    Raises:
        DataError: nothing would be left to train or to measure on

    Example:
        >>> from batchot.data import held_out, load_digits
        >>> digits = load_digits()
        >>> parts = held_out(digits, 0.1)
        >>> len(digits.train), len(parts.train), len(parts.test)
        (1297, 1162, 135)
    """
    train = splits.train
    kept, taken = [], []
    for label in range(len(train.classes)):
        members = (train.labels == label).nonzero().flatten()
        n = min(math.ceil(share * len(members)), max(len(members) - 1, 0))
        kept.append(members[: len(members) - n])
        taken.append(members[len(members) - n :])
    train_at, test_at = torch.cat(kept).sort().values, torch.cat(taken).sort().values
    if len(train_at) == 0 or len(test_at) == 0:
        raise DataError(
            f"{splits.name}: holding out {share:g} of {len(train):,} training samples leaves {len(train_at):,} to "
            f"train and {len(test_at):,} to measure on; set data.validation=0 or add samples"
        )
    return Splits(splits.name, train.subset(train_at), train.subset(test_at))
