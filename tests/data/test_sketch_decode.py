"""A drawing looks the same in whatever form it comes; what is no drawing is told apart."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from batchot.data import DataError
from batchot.data.sets.sketch_image import MOST_PIXELS, read_sketch
from data.sketch_formats import FORMS, draw, framed, packed

SAME = 6  # mean difference of 255: lossy forms blur a little, another drawing differs by more than 30


@pytest.mark.parametrize("form", FORMS)
def test_same_drawing_in_every_form(form: str) -> None:
    drawing = draw()
    reference = read_sketch(packed(drawing, "png"), 48)
    drawn = read_sketch(FORMS[form](drawing), 48)
    assert reference is not None and drawn is not None
    assert drawn.dtype == np.uint8 and drawn.shape == (48, 48)
    difference = np.abs(drawn.astype(int) - reference)
    assert difference.mean() < SAME, form
    assert drawn[0].min() == 255 and drawn.min() == 0


def test_another_drawing_differs_by_much_more() -> None:
    reference, mirrored = (
        read_sketch(packed(image, "png"), 48)
        for image in (draw(), draw().transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    assert reference is not None and mirrored is not None
    assert np.abs(reference.astype(int) - mirrored).mean() > 30


@pytest.mark.parametrize("form", ["png", "white on black"])
def test_thin_frame_is_not_taken_for_the_paper(form: str) -> None:
    drawn = read_sketch(FORMS[form](framed(draw(size=(400, 300)))), 64)
    assert drawn is not None
    assert np.mean(drawn == 255) > 0.6


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_blank_paper(mode: str) -> None:
    for colour in (0, 1) if mode == "1" else (0, 255):
        assert read_sketch(packed(Image.new(mode, (40, 30), colour), "png"), 16) is None


def test_nearly_blank_paper_and_one_pixel() -> None:
    noise = np.random.default_rng(0).integers(240, 256, (40, 40), dtype=np.uint8)
    assert read_sketch(packed(Image.fromarray(noise), "png"), 16) is None
    dot = Image.new("L", (40, 40), 255)
    dot.putpixel((3, 7), 0)
    drawn = read_sketch(packed(dot, "png"), 16)
    assert drawn is not None and drawn.min() == 0
    assert read_sketch(packed(Image.new("L", (1, 1)), "png"), 16) is None


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("form", ["png", "jpg", "webp", "gif", "tif", "bmp"])
def test_cut_files_are_damaged(form: str, share: float) -> None:
    content = FORMS[form](draw())
    with pytest.raises(DataError, match=r"dog/1\.png is damaged or no image .*; restore it or delete it"):
        read_sketch(content[: int(share * len(content))], 32, "dog/1.png")


def test_missing_file_and_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png is damaged or no image"):
        read_sketch(tmp_path / "none.png", 32)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png is damaged or no image"):
        read_sketch(tmp_path / "text.png", 32)


def bomb(side: int) -> bytes:
    """A PNG file of a few kilobytes that says it has ``side`` x ``side`` white pixels of one bit."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [8_193, 12_000, 60_000])
def test_too_large_is_refused_before_it_is_unpacked(side: int) -> None:
    content = bomb(side)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"pixels|exceeds limit"):
        read_sketch(content, 32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20 < MOST_PIXELS // 8


def test_huge_drawing_keeps_its_strokes() -> None:
    """4,000 pixels wide, strokes of 3: a twentieth of a pixel of the result, and still black."""
    drawn = read_sketch(packed(draw(size=(4000, 3000), width=3), "png"), 64)
    normal = read_sketch(packed(draw(size=(200, 150), width=3), "png"), 64)
    assert drawn is not None and normal is not None
    thin = np.where(normal < 128)
    # wherever the ordinary drawing is dark there is a stroke within a pixel
    nearby = np.asarray(Image.fromarray(drawn)).astype(int)
    darkest = np.min([np.roll(nearby, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0)
    assert np.mean(darkest[thin] < 140) > 0.95


def test_large_photograph_of_a_drawing_is_read_small() -> None:
    drawing = draw(size=(6000, 4500), width=40)
    drawn, whole = (read_sketch(packed(drawing, kind, quality=60), 64) for kind in ("jpeg", "png"))
    assert drawn is not None and whole is not None
    assert np.abs(drawn.astype(int) - whole).mean() < SAME


def test_where_it_was_drawn_does_not_matter() -> None:
    paper = Image.new("L", (300, 200), 255)
    ImageDraw.Draw(paper).arc((10, 10, 60, 80), 20, 300, fill=0, width=3)
    moved = Image.new("L", (500, 260), 255)
    ImageDraw.Draw(moved).arc((390, 140, 440, 210), 20, 300, fill=0, width=3)
    a, b = (read_sketch(packed(image, "png"), 40) for image in (paper, moved))
    assert a is not None and b is not None
    assert np.array_equal(a, b)


def test_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        read_sketch(io.BytesIO().getvalue(), 0)
