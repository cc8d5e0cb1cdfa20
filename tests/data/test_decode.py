"""Image files to pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batchot.data import DataError
from batchot.data.sets.pictures import decode_images


def save(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


@pytest.mark.parametrize("ending", ["png", "bmp", "ppm", "tif", "gif", "webp", "jpg"])
def test_formats(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"a.{ending}", Image.new("RGB", (4, 3), (255, 0, 0)), quality=100)
    pixels = decode_images([path])
    assert pixels.shape == (1, 3, 3, 4)
    np.testing.assert_allclose(pixels[0, :, 1, 2], (255, 0, 0), atol=3)


def test_order_is_kept_over_many_chunks(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", Image.new("L", (2, 2), i)) for i in range(200)]
    assert decode_images(paths)[:, 1, 1, 1].tolist() == list(range(200))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 70, (70, 70, 70)),
        ("1", 1, (255, 255, 255)),
        ("LA", (0, 0), (255, 255, 255)),
        ("RGBA", (9, 8, 7, 255), (9, 8, 7)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
    ],
)
def test_modes_become_rgb_and_transparent_becomes_white(tmp_path: Path, mode: str, colour, expected) -> None:
    ending = "tif" if mode == "CMYK" else "png"
    path = save(tmp_path / f"a.{ending}", Image.new(mode, (2, 2), colour))
    assert tuple(decode_images([path])[0, :, 0, 0]) == expected


def test_transparent_palette_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    path = save(tmp_path / "a.png", image, transparency=0)
    assert decode_images([path])[0, :, 0].T.tolist() == [[255, 255, 255], [10, 20, 30]]


def test_more_than_8_bits(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.full((2, 2), 40_000, dtype=np.uint16)))
    with pytest.raises(DataError, match=rf"{path} has I;16 pixels, more than 8 bits"):
        decode_images([path])


def test_photograph_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    assert decode_images([save(tmp_path / "a.jpg", image, exif=exif)]).shape == (1, 3, 8, 4)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "gif"])
@pytest.mark.parametrize("kept", [0, 10, 60, 0.5, 0.9])
def test_truncated_image_is_named(tmp_path: Path, ending: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    good = save(tmp_path / f"good.{ending}", Image.fromarray(noise))
    content = Path(good).read_bytes()
    bad = tmp_path / f"bad.{ending}"
    bad.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(DataError, match=rf"{bad} is damaged or no image"):
        decode_images([good, str(bad)])


def test_first_error_stops_the_rest(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = save(tmp_path / "good.png", Image.new("L", (2, 2)))
    with pytest.raises(DataError, match=r"bad.png is damaged"):
        decode_images([good] * 300 + [str(bad)] + [good] * 300)


def test_size_cuts_to_a_square_about_the_centre(tmp_path: Path) -> None:
    image = np.zeros((10, 30, 3), dtype=np.uint8)
    image[:, 10:20] = 200
    pixels = decode_images([save(tmp_path / "a.png", Image.fromarray(image))], size=5)
    assert pixels.shape == (1, 3, 5, 5)
    assert (pixels[..., 1:-1] > 190).all()
    assert (pixels > 150).all()


def test_progress_bar_above_a_number_of_images(tmp_path: Path, monkeypatch, capsys) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (2, 2)))
    monkeypatch.setattr("batchot.data.sets.pictures.PROGRESS_ABOVE", 9)
    decode_images([path] * 9)
    assert capsys.readouterr().err == ""
    decode_images([path] * 10)
    assert "decoding images: 100%" in capsys.readouterr().err
