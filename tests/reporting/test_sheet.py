from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from batchot.reporting.sheet import Cell, draw_contact_sheet, draw_rows, picture


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_every_view_stands_in_its_place_unchanged() -> None:
    n, v, side = 5, 3, 16
    # a constant grey of its own for every view
    views = np.broadcast_to((10 + np.arange(n * v)).reshape(n, v, 1, 1).astype(np.uint8), (n, v, side, side))
    sheet = opened(draw_contact_sheet(views, [""] * n, columns=2))
    places = {}
    for grey in range(10, 10 + n * v):
        rows, columns = np.nonzero(sheet == grey)
        assert len(rows) == side * side
        assert np.ptp(rows) == np.ptp(columns) == side - 1
        places[grey - 10] = (rows.min(), columns.min())
    assert all(places[v * i][0] == places[v * i + 1][0] for i in range(n))  # views of a shape lie in a row
    assert places[0][0] == places[v][0] < places[2 * v][0]  # two shapes beside each other
    assert places[1][1] - places[0][1] == side


def test_scaling_averages_and_does_not_mix_views() -> None:
    views = np.zeros((2, 2, 64, 64), np.uint8)
    views[0, 1], views[1, 0] = 200, 100
    sheet = opened(draw_contact_sheet(views, ["", ""], side=16))
    values, counts = np.unique(sheet, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True))[200] == 16 * 16
    assert dict(zip(values.tolist(), counts.tolist(), strict=True))[100] == 16 * 16
    assert set(values.tolist()) <= {0, 100, 200, 215, 255}


def test_names_are_written_in_any_script_and_length() -> None:
    views = np.full((3, 2, 20, 20), 255, np.uint8)
    blank = opened(draw_contact_sheet(views, ["", "", ""]))
    named = opened(
        draw_contact_sheet(views, ["chair", "椅子\n\u202e$<b>", "x" * 500], view_names=["0", "30"])
    )
    assert (named < 200).sum() > (blank < 200).sum()


@pytest.mark.parametrize(
    ("views", "names", "options", "message"),
    [
        (np.zeros((2, 3, 8), np.uint8), ["a", "b"], {}, "uint8 of shape"),
        (np.zeros((2, 1, 8, 8), np.float32), ["a", "b"], {}, "float32"),
        (np.zeros((0, 1, 8, 8), np.uint8), [], {}, "uint8 of shape"),
        (np.zeros((2, 1, 8, 8), np.uint8), ["a"], {}, "2 shapes came with 1 names"),
        (np.zeros((1, 2, 8, 8), np.uint8), ["a"], {"view_names": ["x"]}, "2 views"),
        (np.zeros((1, 2, 8, 8), np.uint8), ["a"], {"columns": 0}, "columns"),
        (np.broadcast_to(np.uint8(0), (9000, 12, 224, 224)), ["a"] * 9000, {}, "fewer shapes"),
    ],
)
def test_wrong_arguments_are_said(views, names, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_contact_sheet(views, names, **options)


def test_rows_of_pictures_of_different_sizes() -> None:
    cells = [Cell(np.zeros((1, 4, 9), np.uint8)), Cell(np.zeros((3, 200, 100), np.uint8), wrong=True)]
    sheet = opened(draw_rows([("a", cells), ("b", cells[:1])], side=40))
    assert (sheet == (208, 48, 48)).all(axis=2).sum() > 100
    assert draw_rows([])[1:4] == b"PNG"


def test_three_channels_are_colours() -> None:
    assert picture(np.zeros((3, 4, 5), np.uint8)).mode == "RGB"
    assert picture(np.zeros((4, 4, 5), np.uint8)).mode == "L"
