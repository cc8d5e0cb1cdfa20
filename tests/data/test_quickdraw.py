"""Drawings of Quick, Draw!: files as they are published, and files that are not right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from batchot.data.sets.quickdraw import Hand, load_quickdraw
from batchot.errors import DataError

ZIGZAG = [[[0, 40, 80, 120], [0, 60, 0, 60]], [[10, 110], [80, 80]]]


def line(word: str = "zigzag", drawing: Any = ZIGZAG, key: object = None, **more: object) -> str:
    values = {"word": word, "drawing": drawing, **more} | ({} if key is None else {"key_id": str(key)})
    return json.dumps(values)


def write(file: Path, lines: list[str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_folder_of_classes_and_its_division(tmp_path: Path) -> None:
    for word in ("star", "ice cream"):
        write(tmp_path / f"{word}.ndjson", [line(word, key=k) for k in range(10)])
    splits = load_quickdraw(tmp_path, size=48, test_fraction=0.3)
    assert splits.train.classes == ("ice cream", "star")
    assert (len(splits.train), len(splits.test)) == (14, 6)
    assert splits.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert not set(splits.train.names) & set(splits.test.names)
    pixels = splits.train.batch(torch.arange(14))
    assert (pixels.shape, pixels.dtype) == ((14, 1, 48, 48), torch.uint8)
    assert pixels.flatten(1).min(1).values.max() < 60  # each has dark strokes on white paper
    assert (pixels[:, :, 0] == 255).all()
    assert (pixels[:, :, :, -1] == 255).all()


def test_one_file_of_several_classes_and_the_name_of_a_file(tmp_path: Path) -> None:
    mixed = write(tmp_path / "all.ndjson", [line("a", key=1), line("b", key=2), line("b", key=3)])
    assert load_quickdraw(mixed).train.classes == ("a", "b")
    without = [json.dumps({"drawing": ZIGZAG}), json.dumps({"word": 3, "drawing": ZIGZAG})]
    named = write(tmp_path / "full_simplified_wine glass.ndjson", without)
    assert load_quickdraw(named).train.classes == ("wine glass",)


def test_raw_and_simplified_give_the_same_picture(tmp_path: Path) -> None:
    """A raw file has times, more points and pixels of any screen."""
    raw = []
    for (x0, x1), (y0, y1) in ((((0, 120)), (0, 60)), ((120, 0), (60, 60))):
        steps = [k / 200 for k in range(201)]
        xs, ys = (
            [313.7 + 3.1 * (x0 + t * (x1 - x0)) for t in steps],
            [3.1 * (y0 + t * (y1 - y0)) for t in steps],
        )
        raw.append([xs, ys, [7 * k for k in range(201)]])
    simple = [[[0, 120], [0, 60]], [[120, 0], [60, 60]]]
    a = load_quickdraw(write(tmp_path / "raw.ndjson", [line(drawing=raw)]), size=64).train
    b = load_quickdraw(write(tmp_path / "simple.ndjson", [line(drawing=simple)]), size=64).train
    assert len(a.points) == 4  # what a straight stroke needs
    difference = a.batch(torch.tensor([0])).int() - b.batch(torch.tensor([0])).int()
    assert difference.abs().max() <= 2


def test_the_limit_is_of_each_class(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [line("a", key=k) for k in range(7)])
    write(tmp_path / "b.ndjson", [line("b", key=k) for k in range(2)] + [line("a", key=9)])
    splits = load_quickdraw(tmp_path, per_class=4)
    both = sorted([*splits.train.names, *splits.test.names])
    assert both == ["a/0", "a/1", "a/2", "a/3", "b/0", "b/1"]
    every = load_quickdraw(tmp_path, per_class=0)
    assert len(every.train) + len(every.test) == 10


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    """The published files are of a hundred megabytes; what lies behind the limit is not parsed."""
    told: list[str] = []
    write(tmp_path / "a.ndjson", [line("a", key=k) for k in range(5)] + ["{ no drawing"] * 3)
    load_quickdraw(tmp_path, per_class=4, tell=told.append)
    assert told == []


BAD = {
    "cut off": line()[:-20],
    "no JSON": "hello",
    "no drawing": json.dumps({"word": "zigzag"}),
    "a list": "[1, 2]",
    "x without y": line(drawing=[[[1, 2, 3]]]),
    "x and y differ": line(drawing=[[[1, 2, 3], [1, 2]]]),
    "words": line(drawing=[[["one", "two"], [1, 2]]]),
    "not a number": '{"word": "zigzag", "drawing": [[[0, NaN], [0, 1]]]}',
    "endless": '{"word": "zigzag", "drawing": [[[0, 1e999], [0, 1]]]}',
    "null": line(drawing=None),
    "a number": line(drawing=5),
    "deep": line(drawing=[[[[0], [1]], [[2], [3]]]]),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_is_no_drawing_is_left_out_and_told(tmp_path: Path, bad: str) -> None:
    told: list[str] = []
    file = write(tmp_path / "zigzag.ndjson", [line(key=1), bad, line(key=2), line(key=3)])
    splits = load_quickdraw(tmp_path, tell=told.append)
    assert len(splits.train) + len(splits.test) == 3
    assert (
        len(told) == 1
        and told[0].startswith(f"{file}: 1 lines are cut off or no drawings")
        and "line 2" in told[0]
    )


@pytest.mark.parametrize("drawing", [[], [[[], []]], [[[3], [4]]], [[[3, 3], [4, 4]], [[3], [4]]]])
def test_drawings_of_nothing_are_left_out_and_told(tmp_path: Path, drawing: list[Any]) -> None:
    told: list[str] = []
    write(tmp_path / "zigzag.ndjson", [line(key=1), line(drawing=drawing, key=2)])
    assert len(load_quickdraw(tmp_path, tell=told.append).train) == 1
    assert "1 drawings of nothing left out: line 2" in told[0]


def test_strokes_of_one_point_are_dots(tmp_path: Path) -> None:
    drawing = [[[0, 100], [0, 0]], [[50], [50]]]
    write(tmp_path / "a.ndjson", [line(drawing=drawing)])
    drawn = load_quickdraw(tmp_path, size=40).train
    for pixels in (drawn.batch(torch.tensor([0])), drawn.draw(torch.tensor([0]), torch.Generator(), 0.0)):
        assert pixels[0, 0, 24:, 15:25].min() < 128  # under the line, in the middle
        assert (pixels[0, 0, 24:, :12] == 255).all()


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \.ndjson files of Quick, Draw!"):
        load_quickdraw(tmp_path)
    write(tmp_path / "a.ndjson", ["", "  "])
    with pytest.raises(DataError, match="holds no drawing"):
        load_quickdraw(tmp_path)
    with pytest.raises(DataError, match="per_class must be at least 0"):
        load_quickdraw(tmp_path, per_class=-1)
    with pytest.raises(DataError, match="test_fraction"):
        load_quickdraw(tmp_path, test_fraction=1.0)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchot.data.sets.quickdraw.LONGEST_LINE", 1000)
    write(tmp_path / "a.ndjson", [line(), "x" * 2000])
    with pytest.raises(DataError, match="line 2 is longer than 1,000 bytes"):
        load_quickdraw(tmp_path)


def test_the_hand_of_the_recipe_draws_for_training_only(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", [line(key=k) for k in range(4)])
    train = load_quickdraw(tmp_path, size=64, hand=Hand.of(1.0)).train
    every = torch.arange(3)
    assert torch.equal(train.batch(every), train.batch(every))
    first = train.draw(every, torch.Generator().manual_seed(0))
    assert torch.equal(first, train.draw(every, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, train.draw(every, torch.Generator().manual_seed(1)))
