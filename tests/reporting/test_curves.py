from __future__ import annotations

import dataclasses

from batchot.reporting.curves import draw_curves
from batchot.training.callbacks import Row
from report_support import FIRST_ROW


def rows(*, planned: bool) -> list[Row]:
    first = dataclasses.replace(FIRST_ROW, violated_mass=0.9 if planned else None)
    unmeasured = dataclasses.replace(first, epoch=2, loss=0.2, map=None, nn=None, accuracy=None)
    return [first, unmeasured, dataclasses.replace(first, epoch=3, loss=0.1, map=0.75)]


def test_panels_hold_what_the_rows_say() -> None:
    loss, measures, plan = draw_curves(rows(planned=True), "t").axes
    assert list(loss.lines[0].get_ydata()) == [0.3, 0.2, 0.1]
    assert list(measures.lines[0].get_xdata()) == [1, 3]
    assert list(measures.lines[0].get_ydata()) == [50, 75]
    assert list(plan.lines[0].get_ydata()) == [90, 90, 90]
    assert "mAP, 75.00 %" in [text.get_text() for text in measures.get_legend().get_texts()]


def test_losses_without_a_plan_have_no_panel_for_it() -> None:
    assert len(draw_curves(rows(planned=False), "t").axes) == 2
