"""The handwritten digits that come with scikit-learn: real, small and at hand without a download."""

from __future__ import annotations

import numpy as np
import torch

from batchot.data.images import Images, Splits
from batchot.errors import extras_named

TEST_COUNT = 500
_INK = 16


def load_digits() -> Splits:
    """Load 1,797 handwritten digits of 8 x 8 pixels, divided 1,297 / 500 with equal shares of every class.

    Returns:
        Training and test images, uint8, each ``(1, 8, 8)``, ink 255 on 0; the division is always the same.

    Source:
        E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI repository, 1998 (its test
        part).

    Example:
        >>> from batchot.data import load_digits
        >>> load_digits().test.labels.bincount().tolist()
        [50, 51, 49, 51, 50, 51, 50, 50, 48, 50]
    """
    # scikit-learn takes a second to import, which a run on other data need not pay.
    with extras_named():
        from sklearn.datasets import load_digits as load_sklearn_digits
        from sklearn.model_selection import train_test_split

    images, labels = load_sklearn_digits(return_X_y=True)
    pixels = np.rint(images * (255 / _INK)).astype(np.uint8).reshape(-1, 1, 8, 8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_COUNT, stratify=labels, random_state=0
    )
    whole = Images(torch.from_numpy(pixels), torch.from_numpy(labels).to(torch.int64), tuple("0123456789"))
    return Splits("digits", whole.subset(torch.from_numpy(train)), whole.subset(torch.from_numpy(test)))
