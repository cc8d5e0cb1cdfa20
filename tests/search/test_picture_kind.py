"""Drawings and what is none."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from batchot.data.sets.sketch_image import read_sketch
from batchot.search.prepare import make_thumbnail, prepare_bytes
from batchot.search.query_kind import cleaned_photo, is_line_drawing, photo_of_object
from batchot.search.records import QueryRefused
from batchot.shapes.library import generate_shape
from batchot.shapes.normalize import normalize_shape
from batchot.shapes.views.settings import ViewSettings
from batchot.towers.spec import DrawingInput, Inputs, PhotoInput, ViewsInput
from search_support import CLASSES, draw_sketch, photograph


def saved(image: Image.Image, kind: str = "png") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("class_name", ["bottle", "stairs", "airplane"])
@pytest.mark.parametrize("size", [48, 256, 900])
def test_drawings(tmp_path, class_name: str, size: int) -> None:  # type: ignore[no-untyped-def]
    drawing = draw_sketch(tmp_path / "a.png", class_name, 3, size=size)
    assert is_line_drawing(drawing.read_bytes())
    light = Image.eval(Image.open(drawing), lambda x: 255 - x)
    assert is_line_drawing(saved(light)) and is_line_drawing(saved(light.convert("1")))


def test_the_thickest_pen_of_the_page_is_a_pen() -> None:
    sheet = Image.new("L", (256, 256), 255)
    ImageDraw.Draw(sheet).line([(20, 20), (230, 60), (60, 200), (230, 230)], fill=0, width=14, joint="curve")
    assert is_line_drawing(saved(sheet)) and is_line_drawing(saved(sheet, "jpeg"))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16"])
def test_photos_and_shaded_pictures(mode: str) -> None:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(np.uint8(rng.uniform(0, 255, (6, 6, 3)))).resize(
        (300, 200), Image.Resampling.BICUBIC
    )
    made = Image.fromarray(np.uint16(photo.convert("L")) * 200) if mode == "I;16" else photo.convert(mode)
    assert not is_line_drawing(saved(made))
    mesh = normalize_shape(generate_shape("bottle", 1), "z")
    assert not is_line_drawing(make_thumbnail(mesh))


def test_tiny_and_plain_pictures_are_not_doubted() -> None:
    for size in ((1, 1), (2, 300), (20, 20)):
        assert is_line_drawing(saved(Image.new("L", size, 255)))


def photographed(drawing: Image.Image, *, desk: bool) -> bytes:
    """A sheet with pencil strokes under light that falls off by half, on a dark desk or filling the picture."""
    rng = np.random.default_rng(0)
    strokes = np.asarray(drawing.convert("L").resize((400, 400)), np.float64)
    sheet = np.full((460, 460), 235.0)
    sheet[30:430, 30:430] = 60 + 175 / 255 * strokes
    if desk:
        around = rng.normal(55, 8, (560, 700))
        around[50:510, 120:580] = sheet
        sheet = around
    light = np.linspace(1.0, 0.5, sheet.shape[1])
    seen = sheet * light + rng.normal(0, 3, sheet.shape)
    return saved(Image.fromarray(np.uint8(np.clip(seen, 0, 255))), "jpeg")


@pytest.mark.parametrize("desk", [False, True])
@pytest.mark.parametrize("class_name", ["airplane", "stairs"])
def test_the_photo_of_a_drawing_is_cleaned(tmp_path, class_name: str, desk: bool) -> None:  # type: ignore[no-untyped-def]
    drawing = draw_sketch(tmp_path / "a.png", class_name, 3, size=400)
    photo = photographed(Image.open(drawing), desk=desk)
    assert not is_line_drawing(photo)
    cleaned = cleaned_photo(photo)
    assert cleaned is not None and is_line_drawing(cleaned)
    before, raw, after = (read_sketch(data, 64) for data in (drawing.read_bytes(), photo, cleaned))
    assert before is not None and raw is not None and after is not None

    def apart(drawn: np.ndarray) -> float:
        return float(np.abs(drawn.astype(float) - before).mean())

    assert apart(after) < 0.4 * apart(raw)


def test_what_is_no_photo_of_a_drawing_is_not_cleaned() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(np.uint8(rng.uniform(0, 255, (12, 12, 3)))).resize((300, 200))
    empty = np.uint8(np.clip(np.linspace(230, 110, 300) + rng.normal(0, 3, (200, 300)), 0, 255))
    for picture in (noise, Image.fromarray(empty)):  # an empty sheet has nothing on it
        assert cleaned_photo(saved(picture, "jpeg")) is None
    mesh = normalize_shape(generate_shape("bottle", 1), "z")
    assert cleaned_photo(make_thumbnail(mesh)) is None


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_thing_before_a_plain_wall_is_no_drawing(tmp_path: Path, class_name: str) -> None:
    photo = photograph(tmp_path / "photo.jpg", class_name, 41).read_bytes()
    assert not is_line_drawing(photo) and cleaned_photo(photo) is None


def test_a_photo_is_cut_to_its_object_where_what_is_behind_is_plain() -> None:
    photo = Image.new("RGB", (300, 200), (200, 210, 220))
    ImageDraw.Draw(photo).rectangle((20, 20, 59, 39), fill=(255, 0, 0))
    seen = photo_of_object(saved(photo), 100)
    assert seen.shape == (3, 100, 100) and seen.dtype == np.uint8
    red = (seen[0] > 230) & (seen[1] < 40)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert abs(len(columns) - 90) <= 2 and abs(len(rows) - 45) <= 2  # 40 x 20 pixels, nine tenths of the side
    assert abs(rows.mean() - 49.5) <= 1 and abs(columns.mean() - 49.5) <= 1
    assert tuple(seen[:, 0, 0]) == (200, 210, 220)
    noise = np.random.default_rng(0).integers(0, 255, (40, 80, 3)).astype(np.uint8)
    whole = photo_of_object(saved(Image.fromarray(noise)), 80)
    np.testing.assert_array_equal(whole[:, 20:60], noise.transpose(2, 0, 1))


def test_a_photo_is_told_from_a_drawing_and_refused_where_there_is_no_place_for_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    inputs = Inputs(ViewsInput(ViewSettings(size=32)), DrawingInput(32), PhotoInput(32))
    drawing = draw_sketch(tmp_path / "a.png", "bottle", 3).read_bytes()
    small = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 6, 3)).astype(np.uint8))
    photo = small.resize((300, 200), Image.Resampling.BICUBIC)
    assert prepare_bytes(drawing, "a.png", inputs).what == "drawing"
    prepared = prepare_bytes(saved(photo), "b.png", inputs)
    assert prepared.what == "photo" and prepared.sample.shape == (3, 32, 32) and not prepared.note
    assert prepare_bytes(drawing, "a.png", inputs, "photo").what == "photo"
    assert prepare_bytes(saved(photo), "b.png", inputs, "drawing").what == "drawing"
    assert Inputs.from_json(inputs.to_json()).photo == inputs.photo
    old = replace(inputs, photo=None)
    assert prepare_bytes(saved(photo), "b.png", old).note  # as before: a drawing, doubted
    with pytest.raises(QueryRefused, match="not made for photos"):
        prepare_bytes(saved(photo), "b.png", old, "photo")
