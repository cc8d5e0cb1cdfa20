import pytest
import torch

from batchot.data import DataError, Images, Splits, held_out


def make_splits(labels: list[int], classes: int) -> Splits[Images]:
    names = tuple(str(c) for c in range(classes))
    # the pixel of each training image is its number, so that it can be told which were taken
    pixels = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    test = Images(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8), torch.tensor([0]), names)
    return Splits("numbers", Images(pixels.contiguous(), torch.tensor(labels), names), test)


def numbers(images: Images) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def test_last_of_each_class_are_taken():
    parts = held_out(make_splits([0, 1, 0, 1, 0, 1, 0, 2], 3), 0.3)
    assert numbers(parts.test) == [4, 5, 6]  # two of class 0 (1.2 rounded up), one of class 1
    assert numbers(parts.train) == [0, 1, 2, 3, 7]  # the only one of class 2 stays
    assert parts.test.labels.tolist() == [0, 1, 0]


def test_test_set_is_left_alone():
    assert 255 not in numbers(held_out(make_splits([0] * 10, 1), 0.5).test)


def test_a_class_without_samples_takes_nothing_away():
    assert len(held_out(make_splits([0, 0], 5), 0.5).train) == 1


def test_classes_of_one_leave_nothing_to_measure_on():
    with pytest.raises(DataError, match=r"numbers: .* leaves 2 to\s+train and 0"):
        held_out(make_splits([0, 1], 2), 0.5)
