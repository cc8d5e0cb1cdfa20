from __future__ import annotations

import io
from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batchot.reporting.across import (
    Analysis,
    draw_retrieved,
    queries_of_class,
    retrieved_section,
)
from batchot.reporting.material import ReportMaterial
from batchot.reporting.style import Thumbnails


@given(values=st.lists(st.integers(0, 5), min_size=1, max_size=9), seed=st.integers(0, 9))
def test_best_is_best_worst_is_worst_and_none_comes_twice(values: list[int], seed: int) -> None:
    ap = torch.tensor([0.0, *values, 9.0]) / 9  # the first and the last are of other classes
    items = torch.arange(1, len(values) + 1)
    chosen = queries_of_class(ap, items, seed=seed)
    assert len({asked.item for asked in chosen}) == len(chosen) == min(3, len(values))
    by_kind = {asked.kind: float(ap[asked.item]) for asked in chosen}
    assert by_kind["best"] == float(ap[items].max())
    if len(values) > 1:
        assert by_kind["worst"] == float(ap[items].min())
    if len(values) > 2:
        assert by_kind["worst"] <= by_kind["random"] <= by_kind["best"]


def test_classes_come_worst_first_and_those_without_a_shape_not_at_all(
    make_cross_material: Callable[..., ReportMaterial],
) -> None:
    material = make_cross_material([0, 0, 1, 1, 2], [0, 0, 1, 3])
    x = torch.eye(4, 6)
    material.gallery.embeddings.copy_(x[[0, 0, 1, 3]])
    material.query.embeddings.copy_(x[[0, 3, 1, 1, 2]])  # the second of class 0 is where class 3 is
    queries, gallery = (Thumbnails(items, material.classes) for items in (material.query, material.gallery))
    page = retrieved_section(Analysis(material), queries, gallery)
    first, second = page.index("<b>class-0</b>"), page.index("<b>class-1</b>")
    assert first < second
    assert page.count("<details") == 2
    assert "mAP 100.0 %, 2 sketches, 1 shape to find" in page[second:]
    assert page[first:second].index("<b>best</b>") < page[first:second].index("<b>worst</b>")


def test_the_picture_has_a_row_for_each_class(make_cross_material: Callable[..., ReportMaterial]) -> None:
    few = draw_retrieved(Analysis(make_cross_material([0, 0, 1], [0, 1, 1])), title="t")
    many = draw_retrieved(Analysis(make_cross_material([0, 1, 2, 3], [0, 1, 1])), title="t")
    sizes = [Image.open(io.BytesIO(png)).size for png in (few, many)]
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] > 1.5 * sizes[0][1]
