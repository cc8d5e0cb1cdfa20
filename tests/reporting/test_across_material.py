from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from batchot.reporting.material import Items, ReportMaterial, plural

PIXELS = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"embeddings": torch.zeros(2, 3)}, "3 labels came with 2 embeddings"),
        ({"names": ("a",)}, "3 labels came with 1 names"),
        ({"thumbnails": PIXELS.float()}, "thumbnails must be uint8"),
        ({"thumbnails": PIXELS[:2]}, "3 labels came with 2 thumbnails"),
        ({"embeddings": torch.zeros(3, 3, dtype=torch.int64)}, "embeddings must be floating point"),
        ({"embeddings": torch.full((3, 3), torch.nan)}, "training has diverged"),
        ({"labels": LABELS[:0]}, "a report needs test items"),
    ],
)
def test_items_that_do_not_fit_are_told(fields: dict[str, object], message: str) -> None:
    values = {"embeddings": torch.zeros(3, 3), "labels": LABELS, "thumbnails": PIXELS} | fields
    with pytest.raises(ValueError, match=message):
        Items(**values)  # type: ignore[arg-type]


def test_sides_that_do_not_fit_each_other_are_told(
    make_cross_material: Callable[..., ReportMaterial],
) -> None:
    material = make_cross_material([0, 1], [0, 2])
    narrow = dataclasses.replace(material.query, embeddings=torch.zeros(2, 3))
    with pytest.raises(ValueError, match="sketch embeddings are 3 wide and those of the shape 5"):
        dataclasses.replace(material, **vars(narrow))
    with pytest.raises(ValueError, match="shape labels run from 0 to 2, but there are 2 classes"):
        dataclasses.replace(material, classes=("a", "b"))


def test_classes_of_one_side_only(make_cross_material: Callable[..., ReportMaterial]) -> None:
    material = make_cross_material([0, 3, 3], [0, 2, 1, 1])
    assert material.distractors == ("class-1", "class-2")
    assert material.absent == ("class-3",)


@pytest.mark.parametrize(
    ("noun", "expected"), [("photo", "photos"), ("box", "boxes"), ("toy", "toys"), ("cloud", "clouds")]
)
def test_plural(noun: str, expected: str) -> None:
    assert plural(noun) == expected
