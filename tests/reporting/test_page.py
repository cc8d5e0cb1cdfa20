from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from batchot.reporting.material import ReportMaterial
from batchot.reporting.page import make_page
from report_support import check_sections

pytestmark = pytest.mark.usefixtures("light_only")
SECTIONS = ["curves", "confusion", "retrieval", "neighbours", "pairs", "plan", "embedding", "settings"]
LABELS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_every_section_is_there_and_no_other_file_is_needed(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any]
) -> None:
    seen = read_page(make_page(make_material(LABELS)))
    check_sections(seen, SECTIONS)


def test_headline_is_the_last_evaluated_epoch(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any]
) -> None:
    page = make_page(make_material(LABELS))
    assert "<b>75.00 %</b><span>mAP" in page
    assert "<b>80.00 %</b><span>accuracy, by head" in page
    assert "<b>12</b><span>test images of 3 classes" in page


def test_without_history_the_headline_is_measured(make_material: Callable[..., ReportMaterial]) -> None:
    logits = torch.eye(3)[torch.tensor(LABELS)]
    page = make_page(make_material(LABELS, rows=(), logits=logits, predicted_by="linear head"))
    assert "<b>100.00 %</b><span>accuracy, by linear head" in page
    assert "There is no history" in page


HOSTILE = """<script>alert("1")</script>'&amp;\u202e椅子 \U0001f4a3 $x$"""


def test_hostile_names_are_text_and_nothing_else(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any]
) -> None:
    plain = read_page(make_page(make_material(LABELS)))
    page = make_page(
        make_material(
            LABELS,
            title=HOSTILE,
            about=HOSTILE,
            config=HOSTILE,
            classes=(HOSTILE, "b</td>", 'c" onload="x'),
            names=tuple(f"{HOSTILE}/{HOSTILE}{i}" for i in range(12)),
            predictions=torch.tensor(LABELS).roll(1),
            predicted_by=HOSTILE,
        )
    )
    seen = read_page(page)
    assert not any(tag == "script" for tag, _ in seen.tags)
    assert not any(name.startswith("on") for _, given in seen.tags for name in given)
    assert seen.ids == plain.ids
    assert seen.text.count("<script>") > 20
    assert "椅子" in seen.text


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_thumbnails_of_any_number_of_channels(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any], channels: int
) -> None:
    seen = read_page(make_page(make_material(LABELS, channels=channels)))
    assert len([tag for tag, _ in seen.tags if tag == "figure"]) > 50


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 2, 3], [0, 0, 0, 0, 0], [0, 0, 1], [0], [0, 1], [0, 0], [3, 3, 1, 1, 1, 5]],
    ids=["one of each class", "one class", "three items", "one item", "two classes", "two items", "gaps"],
)
def test_tiny_test_sets(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any], labels: list[int]
) -> None:
    assert read_page(make_page(make_material(labels))).ids == SECTIONS


@pytest.mark.parametrize("labels", [[0], [0, 0, 1]])
def test_tiny_test_sets_with_a_classifier(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any], labels: list[int]
) -> None:
    logits = torch.zeros(len(labels), max(labels) + 1)
    assert read_page(make_page(make_material(labels, logits=logits))).ids == SECTIONS


def test_embeddings_that_are_all_equal(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any]
) -> None:
    assert read_page(make_page(make_material(LABELS, embeddings=torch.zeros(12, 6)))).ids == SECTIONS


def test_wrong_neighbours_and_only_they_are_marked(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any]
) -> None:
    seen = read_page(make_page(make_material([0, 0, 0, 0, 1, 1, 1])))
    marked = [given for tag, given in seen.tags if tag == "figure" and given.get("class") == "wrong"]
    # 7 queries, all others of each are shown: 3 of 6 are wrong for class 0, 4 of 6 for class 1
    shown = seen.text.count("AP ") - 1  # the introduction names it once
    assert shown == 7
    assert len(marked) == 4 * 3 + 3 * 4
    assert all(given["title"].endswith(", wrong") for given in marked)


def test_size_of_a_page_about_many_shapes(make_material: Callable[..., ReportMaterial]) -> None:
    n = 400
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (n, 1, 96, 96), generator=generator, dtype=torch.uint8)
    labels = (torch.arange(n) % 40).tolist()
    page = make_page(make_material(labels, thumbnails=noise, embeddings=torch.randn(n, 8)))
    # noise is the worst that can be compressed: real pictures take a quarter of this
    assert len(page) < 3_000_000
