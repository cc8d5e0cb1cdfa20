"""Photos of objects as queries, as a user asks them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchot.cli import main
from search_support import CLASSES, draw_sketch, photograph


@pytest.mark.parametrize("kind", [[], ["--kind", "photo"]])
@pytest.mark.parametrize("class_name", CLASSES)
def test_a_photo_finds_what_it_shows(
    class_name: str,
    kind: list[str],
    photo_index: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = photograph(tmp_path / "photo.jpg", class_name, 41)
    assert main(["search", str(photo_index), str(photo), "-k", "5", "--json", "--device=cpu", *kind]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["taken_as"] == "photo" and answer["confidence"] is None
    assert [hit["class"] for hit in answer["hits"][:2]] == [class_name] * 2
    distances = [hit["distance"] for hit in answer["hits"]]
    assert distances == sorted(distances) and distances[-1] < 2


def test_the_index_says_whether_it_answers_photos(
    photo_index: Path, small_index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, takes in ((photo_index, True), (small_index, False)):
        assert main(["index", "info", str(index)]) == 0
        assert ("takes shapes, drawings and photos" in capsys.readouterr().out) is takes
        assert main(["index", "info", str(index), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["takes_photos"] is takes


def test_other_pictures_and_other_indexes(
    photo_index: Path, small_index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = draw_sketch(tmp_path / "drawn.png", "bottle", 41)
    photo = photograph(tmp_path / "photo.jpg", "bottle", 41)
    assert main(["search", str(photo_index), str(drawing), "--json", "--device=cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["taken_as"] == "drawing"
    assert main(["search", str(photo_index), str(drawing), str(photo), "--device=cpu"]) == 1
    assert "ask for them apart" in capsys.readouterr().err
    assert main(["search", str(small_index), str(photo), "--kind=photo", "--device=cpu"]) == 1
    assert "was not made for photos" in capsys.readouterr().err
