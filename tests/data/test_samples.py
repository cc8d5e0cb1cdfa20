"""What the containers refuse."""

from __future__ import annotations

import pytest
import torch

from batchot.data import DataError, Images, Splits

PIXELS = torch.zeros(4, 3, 5, 6, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS[0], LABELS, r"images must be uint8 of shape \(n, c, h, w\), got torch.uint8 \(3, 5, 6\)"),
        (PIXELS.float(), LABELS, r"got torch.float32 \(4, 3, 5, 6\)"),
        (PIXELS, LABELS.int(), r"labels must be int64 of shape \(n,\), got torch.int32 \(4,\)"),
        (PIXELS, LABELS[None], r"got torch.int64 \(1, 4\)"),
        (PIXELS, LABELS[:3], "4 images but 3 labels"),
        (PIXELS, LABELS + 1, r"labels run from 1 to 2, but with 2 classes they must lie in 0 \.\. 1"),
        (PIXELS, LABELS - 1, "labels run from -1 to 0"),
    ],
)
def test_images(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Images(images, labels, ("a", "b"))


def test_subset_keeps_order_and_classes() -> None:
    images = Images(torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1), LABELS, ("a", "b"))
    subset = images.subset(torch.tensor([3, 1]))
    assert subset.images.flatten().tolist() == [3, 1]
    assert subset.labels.tolist() == [0, 1]
    assert subset.classes == ("a", "b")
    assert len(images.subset(torch.tensor([], dtype=torch.int64))) == 0


def test_names_go_with_their_images() -> None:
    images = Images(PIXELS, LABELS, ("a", "b"), ("p", "q", "r", "s"))
    assert images.subset(torch.tensor([3, 1])).names == ("s", "q")
    assert Images(PIXELS, LABELS, ("a", "b")).subset(torch.tensor([3])).names == ()
    with pytest.raises(DataError, match="4 images but 3 names"):
        Images(PIXELS, LABELS, ("a", "b"), ("p", "q", "r"))


def test_splits_must_agree() -> None:
    images = Images(PIXELS, LABELS, ("a", "b"))
    with pytest.raises(DataError, match=r"classes differ"):
        Splits("x", images, Images(PIXELS, LABELS, ("a", "c")))
    with pytest.raises(DataError, match=r"\(3, 5, 6\), test samples \(3, 5, 5\)"):
        Splits("x", images, Images(PIXELS[..., 1:], LABELS, ("a", "b")))
