from __future__ import annotations

import numpy as np
import torch

from batchot import plan_report
from batchot.reporting.curves import (
    draw_effective_pairs,
    draw_gradients,
    draw_histograms,
    draw_mass_shares,
    plan_history_section,
)
from batchot.training.losses import histogram_of, plan_row


def rows() -> list[dict[str, float | None]]:
    torch.manual_seed(0)
    x, labels = torch.randn(20, 8), torch.arange(20) % 4
    return [
        plan_row(step, 10, plan_report(x + step * torch.eye(4, 8)[labels], labels)) for step in (1, 2, 5, 10)
    ]


def test_figures_show_the_rows() -> None:
    found = rows()
    images = [axes.get_images()[0].get_array() for axes in draw_histograms(found).axes[:4]]
    expected = np.log10(np.maximum(np.array([histogram_of(row, "negative_mass") for row in found]).T, 1e-4))
    assert np.allclose(images[3], expected)
    lines = draw_mass_shares(found).axes[0].get_lines()
    assert list(lines[0].get_ydata()) == [100 * (row["violated_mass"] or 0) for row in found]
    assert list(lines[3].get_ydata()) == [100 * (row["positive_pairs"] or 0) for row in found]
    effective = draw_effective_pairs(found).axes[0].get_lines()[0].get_ydata()
    assert all(0 < share <= 100.0001 for share in effective)
    positive, negative, both = (line.get_ydata() for line in draw_gradients(found).axes[0].get_lines())
    share = found[0]["positive_pairs"] or 0.0
    assert np.isclose(share * positive[0] + (1 - share) * negative[0], both[0])


def test_section_is_there_only_where_there_was_a_plan() -> None:
    assert plan_history_section([]) == ""
    assert plan_history_section(rows()).count("<picture>") == 4
