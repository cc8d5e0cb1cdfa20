from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from batchot.reporting.material import Items, ReportMaterial
from batchot.reporting.page import make_page
from report_support import check_sections

pytestmark = pytest.mark.usefixtures("light_only")
Make = Callable[..., ReportMaterial]
SECTIONS = ["curves", "measures", "retrieved", "confusion", "embedding", "plans", "settings"]
ASKED, SOUGHT = [0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 1, 1, 1, 3, 3]  # 2 is only asked for, 3 only there


def test_every_section_is_there_and_no_other_file_is_needed(
    make_cross_material: Make, read_page: Callable[[str], Any]
) -> None:
    seen = read_page(make_page(make_cross_material(ASKED, SOUGHT)))
    check_sections(seen, SECTIONS)


def test_without_the_transport_loss_there_are_no_plans(
    make_cross_material: Make, read_page: Callable[[str], Any]
) -> None:
    seen = read_page(make_page(make_cross_material(ASKED, SOUGHT, loss=None)))
    assert seen.ids == [name for name in SECTIONS if name != "plans"]


def test_headline_counts_both_sides(make_cross_material: Make) -> None:
    page = make_page(make_cross_material(ASKED, SOUGHT, query_name="photo", gallery_name="body"))
    assert "<b>7</b><span>photos of 3 classes" in page
    assert "<b>10</b><span>bodies of 3 classes" in page
    assert "mAP, photo to body" in page
    assert "Photos and what they find" in page


def test_the_wrong_ones_and_only_they_are_marked(
    make_cross_material: Make, read_page: Callable[[str], Any]
) -> None:
    seen = read_page(make_page(make_cross_material([0, 0, 1], [0, 1, 1], loss=None)))
    figures = [given for tag, given in seen.tags if tag == "figure"]
    # all three shapes are shown for each of the three queries: 2 wrong for those of class 0, 1 for that of 1
    assert len(figures) == 3 + 9
    marked = [given for given in figures if given.get("class") == "wrong"]
    assert len(marked) == 2 + 2 + 1
    assert all(given["title"].endswith(", wrong") for given in marked)


HOSTILE = """<script>alert("1")</script>'&amp;\u202e椅子 \U0001f4a3 $x$"""


def test_hostile_names_are_text_and_nothing_else(
    make_cross_material: Make, read_page: Callable[[str], Any]
) -> None:
    plain = make_cross_material(ASKED, SOUGHT)

    def renamed(items: Items) -> Items:
        return dataclasses.replace(items, names=tuple(f"{HOSTILE}/{HOSTILE}{i}" for i in range(len(items))))

    material = dataclasses.replace(
        plain,
        title=HOSTILE,
        about=HOSTILE,
        config=HOSTILE,
        classes=(HOSTILE, "b</td>", 'c" onload="x', "</section>"),
        **vars(renamed(plain.query)),
        gallery=renamed(plain.gallery),
        query_name=HOSTILE,
        gallery_name="</p>",
    )
    seen = read_page(make_page(material))
    assert not any(tag == "script" for tag, _ in seen.tags)
    assert not any(name.startswith("on") for _, given in seen.tags for name in given)
    assert seen.ids == SECTIONS
    assert seen.text.count("<script>") > 20
    assert "椅子" in seen.text


@pytest.mark.parametrize(
    ("asked", "sought"),
    [
        ([0], [0]),
        ([0], [1]),
        ([0, 1], [2, 2, 3]),
        ([0, 0, 0, 0], [0]),
        ([0], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ([3, 3, 1], [1, 5, 5]),
    ],
    ids=["one each", "nothing in common", "several and nothing in common", "one shape", "one query", "gaps"],
)
def test_tiny_test_sets(
    make_cross_material: Make, read_page: Callable[[str], Any], asked: list[int], sought: list[int]
) -> None:
    seen = read_page(make_page(make_cross_material(asked, sought)))
    assert seen.ids == SECTIONS


@pytest.mark.parametrize("normalized", [True, False])
def test_embeddings_that_are_all_equal(
    make_cross_material: Make, read_page: Callable[[str], Any], normalized: bool
) -> None:
    plain = make_cross_material(ASKED, SOUGHT, normalized=normalized)
    material = dataclasses.replace(
        plain,
        embeddings=torch.zeros(7, 6),
        gallery=dataclasses.replace(plain.gallery, embeddings=torch.zeros(10, 6)),
    )
    assert read_page(make_page(material)).ids == SECTIONS


def test_size_of_a_page_about_very_many_classes(make_cross_material: Make) -> None:
    """As many classes as SHREC'14 has; noise is the worst that can be compressed, drawings take a quarter."""
    asked = (torch.arange(171 * 3) % 171).tolist()
    sought = (torch.arange(171 * 5) % 171).tolist()
    plain = make_cross_material(asked, sought, loss=None)

    def noisy(items: Items) -> Items:
        noise = torch.randint(0, 256, (len(items), 1, 96, 96), dtype=torch.uint8)
        return dataclasses.replace(items, thumbnails=noise)

    page = make_page(dataclasses.replace(plain, **vars(noisy(plain.query)), gallery=noisy(plain.gallery)))
    assert page.count('<details class="asked"') == 171
    assert len(page) < 20_000_000
