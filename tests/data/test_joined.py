import dataclasses

import pytest
import torch

from batchot.data import DataError, Images
from batchot.data.batches.loader import Joined


def images(values: list[int], labels: list[int], side: int = 4, names: tuple[str, ...] = ()) -> Images:
    pixels = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, side, side).contiguous()
    return Images(pixels, torch.tensor(labels), ("a", "b"), names)


@pytest.fixture
def joined() -> Joined:
    return Joined(images([0, 1, 2], [0, 1, 0]), images([10, 11], [1, 1]))


def test_samples_come_in_the_order_asked_for(joined: Joined) -> None:
    for at in ([4, 0, 3, 2], [0, 2], [3, 4], [1]):
        batch = joined.batch(torch.tensor(at))
        assert batch[:, 0, 0, 0].tolist() == [(0, 1, 2, 10, 11)[k] for k in at]
        assert joined.labels[at].tolist() == [(0, 1, 0, 1, 1)[k] for k in at]


def test_subset_of_a_subset(joined: Joined) -> None:
    part = joined.subset(torch.tensor([4, 1, 0])).subset(torch.tensor([2, 0]))
    assert part.batch(torch.tensor([0, 1]))[:, 0, 0, 0].tolist() == [0, 11]
    assert part.labels.tolist() == [0, 1]
    assert (len(part), part.classes, part.sample_shape) == (2, ("a", "b"), (1, 4, 4))


def test_names_need_both_sets_to_have_them() -> None:
    first, second = images([1], [0], names=("x",)), images([2], [1], names=("y",))
    assert Joined(first, second).names == ("x", "y")
    assert Joined(first, second).subset(torch.tensor([1])).names == ("y",)
    assert Joined(first, images([2], [1])).names == ()


def test_can_be_given_other_classes(joined: Joined) -> None:
    other = dataclasses.replace(joined, labels=torch.tensor([2, 1, 2, 1, 1]), classes=("x", "b", "a"))
    assert other.subset(torch.tensor([0])).labels.tolist() == [2]
    assert other.batch(torch.tensor([3])).max() == 10


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(1, 4, 4\).*\(1, 5, 5\)"):
        Joined(images([1], [0]), images([1], [0], side=5))
    with pytest.raises(DataError, match="classes differ"):
        Joined(images([1], [0]), dataclasses.replace(images([1], [0]), classes=("a", "c")))
