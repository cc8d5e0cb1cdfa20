from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from batchot.evaluation import retrieval_scores
from batchot.reporting.across import confusion_section, measures_section
from batchot.reporting.analysis import Analysis
from batchot.reporting.material import ReportMaterial

pytestmark = pytest.mark.usefixtures("light_only")
Make = Callable[..., ReportMaterial]


def test_the_tables_hold_what_retrieval_scores_gives(make_cross_material: Make) -> None:
    material = make_cross_material([0] * 9 + [1] * 5 + [2] * 3, [0] * 6 + [1] * 4 + [2] * 2 + [3] * 5)
    page = measures_section(Analysis(material))
    normalize = torch.nn.functional.normalize
    sides = (
        normalize(material.query.embeddings),
        material.query.labels,
        normalize(material.gallery.embeddings),
        material.gallery.labels,
    )
    usual, padded = retrieval_scores(*sides), retrieval_scores(*sides, ap_convention="shrec13")
    assert usual.map != pytest.approx(padded.map, abs=0.01)
    for name, scores, other in (("micro", usual, padded), ("macro", usual.macro, padded.macro)):
        values = [scores.nn, scores.ft, scores.st, scores.e, scores.dcg, scores.map, other.map]
        cells = "".join(f"<td>{100 * value:.2f}</td>" for value in values)
        assert re.search(rf"<td[^>]*>{name}[^<]*</td>{cells}", page)
    rows = re.findall(r'<td class="name">(class-\d)</td><td>(\d+)</td><td>(\d+)</td>(.*?)</tr>', page)
    order = usual.per_class.map.argsort(stable=True).tolist()
    assert [row[0] for row in rows] == [f"class-{i}" for i in order]
    for i, (_, asked, there, cells) in zip(order, rows, strict=True):
        assert (int(asked), int(there)) == ([9, 5, 3][i], [6, 4, 2][i])
        shown = [float(value) for value in re.findall(r">([\d.]+)</td>", cells)]
        of_class = usual.per_class
        for j, name in enumerate(("nn", "ft", "st", "e", "dcg", "map")):
            assert shown[j] == pytest.approx(100 * float(getattr(of_class, name)[i]), abs=0.006)


def test_what_only_one_side_has_is_named(make_cross_material: Make) -> None:
    page = measures_section(Analysis(make_cross_material([0, 0, 1], [0, 2, 3, 3])))
    assert "1 sketch of 1 class (class-1) has nothing to find among the shapes and is in no mean" in page
    assert "3 shapes of 2 classes (class-2, class-3) are wrong for every sketch (distractors)" in page


def test_nothing_in_common_is_said(make_cross_material: Make) -> None:
    page = measures_section(Analysis(make_cross_material([0, 1], [2])))
    assert "have no class in common" in page
    assert "2 sketches of 2 classes (class-0, class-1) have nothing to find" in page


def test_the_matrix_counts_the_class_that_is_found_first(make_cross_material: Make) -> None:
    material = make_cross_material([0, 0, 0, 1, 1], [0, 1, 4, 3, 3])
    x = torch.eye(5, 7)
    query, gallery = material.query.embeddings, material.gallery.embeddings
    gallery.copy_(x[[0, 1, 4, 3, 3]])
    query.copy_(
        x[[0, 0, 4, 1, 0]]
    )  # one of class 0 finds the shape of class 4, one of class 1 that of class 0
    page = confusion_section(Analysis(material))
    assert "3 of 5 are right (60.00" in page
    assert "<b>class-0</b> finds <b>class-4</b>: 1 of 3 (33 %)" in page
    assert "<b>class-1</b> finds <b>class-0</b>: 1 of 2 (50 %)" in page
    assert "class-3" not in page
