from __future__ import annotations

import io

import pytest
from PIL import Image

from batchot.reporting.style import DARK, LIGHT, figure_png, figure_text, new_figure


@pytest.mark.parametrize("name", ["a$b$c", "$\\frac{", "\u202e", "椅子", "", "x" * 99, "naïve Ελλάδα"])
def test_any_name_can_be_drawn(name: str) -> None:
    figure = new_figure(3, 2, LIGHT)
    figure.subplots().set_title(figure_text(name, "class 1"))
    assert figure_png(figure)[1:4] == b"PNG"


def test_scripts_that_the_font_lacks_are_replaced_and_long_names_cut() -> None:
    assert figure_text("椅子", "class 1") == "class 1"
    assert figure_text("naïve", "class 1") == "naïve"
    assert figure_text("abcdefgh", "", longest=4) == "abc…"


def test_figures_have_the_background_of_their_theme() -> None:
    for theme in (LIGHT, DARK):
        image = Image.open(io.BytesIO(figure_png(new_figure(1, 1, theme)))).convert("RGB")
        assert "#{:02x}{:02x}{:02x}".format(*image.getpixel((0, 0))) == theme.background
