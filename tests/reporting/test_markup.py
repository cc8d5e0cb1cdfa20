from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from batchot.reporting.material import ReportMaterial
from batchot.reporting.style import Thumbnails, table, thumbnail_png


@pytest.mark.parametrize(("channels", "tolerance"), [(1, 5), (3, 24)])
def test_thumbnails_keep_what_they_show(channels: int, tolerance: int) -> None:
    ramp = np.linspace(0, 255, 96 * 96).astype(np.uint8).reshape(1, 96, 96).repeat(channels, 0)
    decoded = Image.open(io.BytesIO(thumbnail_png(ramp)))
    assert decoded.mode == "P"
    grey = np.asarray(decoded.convert("L")).astype(int)
    assert np.abs(grey - ramp[0]).max() <= tolerance
    assert grey[0, 0] <= 1 and grey[-1, -1] >= 254


def test_caption_is_the_part_that_tells_items_apart(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any]
) -> None:
    material = make_material(
        [0, 0, 0, 0], classes=("chair",), names=("chair/chair_0893", "a b.obj", "chair", "x/")
    )
    shown = [read_page(Thumbnails(material.query, material.classes).figure(i)) for i in range(4)]
    assert [seen.text for seen in shown] == ["0893chair", "a b.objchair", "chairchair", "xchair"]
    assert shown[0].tags[0][1]["title"] == "chair/chair_0893, chair"


def test_large_pictures_are_embedded_small(make_material: Callable[..., ReportMaterial]) -> None:
    noise = torch.randint(0, 256, (1, 3, 512, 512), dtype=torch.uint8)
    noisy = make_material([0], thumbnails=noise)
    assert len(Thumbnails(noisy.query, noisy.classes).figure(0)) < 20_000


def test_tables_escape_their_header_and_mark_names(read_page: Callable[[str], Any]) -> None:
    seen = read_page(table(["<a>", "b"], [["x", "1"], ["y", '<td class="bar">2</td>']], names=1))
    assert seen.text.replace("\n", "") == "<a>bx1y2"
    assert seen.classes("td") == ["name", "", "name", "bar"]
