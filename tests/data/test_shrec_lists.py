"""List files of the authors."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchot.data import DataError
from batchot.data.sets.shrec import Listed, parse_list

PATH = Path("sketchTrain.txt")


def test_class_part_and_number_are_the_end_of_the_path() -> None:
    text = (
        "/data/x y/mat/airplane/train/1.mat 0\n\n"
        "mat\\alarm_clock\\test\\88.mat 1\r\n"
        "max/airplane/M000003.mat\t0\n"
    )
    assert parse_list(text, PATH) == (
        Listed("airplane", "1", "train"),
        Listed("alarm_clock", "88", "test"),
        Listed("airplane", "M000003"),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("airplane/train/1.mat", r"line 2: expected a path and a label, got 'airplane/train/1.mat'"),
        ("airplane/train/1.mat zero", r"line 2: expected a path and a label"),
        ("1.mat 0", r"line 2: expected .*CLASS/NAME.*, got '1.mat'"),
        ("train/1.mat 0", r"line 2: expected .*CLASS/train/NAME, got 'train/1.mat'"),
        ("a/ant/train/7.mat 0", r"line 2: the label 0 stands for airplane further up, here for ant"),
    ],
)
def test_malformed_lines(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_list(f"mat/airplane/train/2.mat 0\n{line}\n", PATH)
