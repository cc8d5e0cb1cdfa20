from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from batchot.reporting.material import ReportMaterial, shrink


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"embeddings": torch.zeros(2, 3)}, "3 labels came with 2 embeddings"),
        ({"names": ("a",)}, "3 labels came with 1 names"),
        ({"thumbnails": torch.zeros(3, 4, 4)}, "thumbnails must be uint8"),
        ({"embeddings": torch.zeros(3, 3, dtype=torch.int64)}, "embeddings must be floating point"),
        ({"embeddings": torch.full((3, 3), torch.nan)}, "NaN"),
        ({"classes": ("a",)}, "labels run from 0 to 1, but there are 1 classes"),
        ({"predictions": torch.tensor([0, 1, 7])}, "predictions run from 0 to 7"),
    ],
)
def test_what_does_not_fit_is_said(
    make_material: Callable[..., ReportMaterial], fields, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_material([0, 0, 1], **fields)


def test_shrinking_keeps_proportions_means_and_small_pictures() -> None:
    wide = torch.randint(0, 256, (3, 1, 120, 240), dtype=torch.uint8)
    small = shrink(wide, side=60)
    assert small.shape == (3, 1, 30, 60)
    assert (small.float().mean((1, 2, 3)) - wide.float().mean((1, 2, 3))).abs().max() < 0.5
    assert shrink(small, side=60) is small


def test_very_many_pictures_are_shrunk_further() -> None:
    many = torch.zeros(400, 1, 96, 96, dtype=torch.uint8)
    assert shrink(many, full=100).shape[-1] == 48
    assert shrink(many, full=1).shape[-1] == 24
