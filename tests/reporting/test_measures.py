from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import batchot
from batchot.reporting.analysis import Analysis
from batchot.reporting.material import ReportMaterial
from batchot.reporting.measures import class_rows, draw_precision_recall


def test_curves_are_those_of_the_scores(make_material: Callable[..., ReportMaterial]) -> None:
    material = make_material([0, 0, 0, 1, 1, 1, 1, 2, 2])
    scores = batchot.retrieval_scores(material.embeddings, material.labels, distance="cosine")
    found = Analysis(material).retrieval
    assert found is not None
    micro, macro = draw_precision_recall(found).axes[0].lines
    assert list(micro.get_ydata()) == pytest.approx((100 * scores.pr_curve.precision).tolist())
    assert list(macro.get_ydata()) == pytest.approx((100 * scores.macro.pr_curve.precision).tolist())
    assert f"{100 * scores.map:.2f} %" in str(micro.get_label())


def test_classes_come_worst_first_with_their_means(make_material: Callable[..., ReportMaterial]) -> None:
    labels = [0, 0, 0, 1, 1, 1, 1, 2, 2, 3]
    material = make_material(labels, predictions=torch.tensor([0, 1, 1, 1, 1, 1, 1, 2, 0, 3]))
    rows = class_rows(Analysis(material))
    assert sorted(row.label for row in rows) == [0, 1, 2, 3]
    maps = [row.map for row in rows]
    assert maps[-1] is None  # a class of one has nothing to find
    measured = [value for value in maps if value is not None]
    assert measured == sorted(measured)
    scores = batchot.retrieval_scores(material.embeddings, material.labels, distance="cosine")
    for row in rows:
        mine = [
            float(ap) for ap, label in zip(scores.per_query.ap, labels, strict=True) if label == row.label
        ]
        if row.map is not None:
            assert row.map == pytest.approx(sum(mine) / len(mine), abs=1e-6)
    by_label = {row.label: row for row in rows}
    assert by_label[0].accuracy == pytest.approx(1 / 3)
    assert by_label[0].taken_for == (1, 2)
    assert by_label[1].taken_for is None
    assert (by_label[3].count, by_label[3].accuracy) == (1, 1.0)
