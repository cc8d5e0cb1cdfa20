from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from batchot.reporting.analysis import Analysis
from batchot.reporting.material import ReportMaterial
from batchot.reporting.measures import Confusion, confusion_table, most_confused, shown_classes


def test_cells_hold_the_counts_of_a_naive_loop(
    make_material: Callable[..., ReportMaterial], read_page: Callable[[str], Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (60,), generator=generator).tolist()
    predicted = torch.randint(0, 4, (60,), generator=generator)
    found = Analysis(make_material(labels, predictions=predicted)).classified
    assert found is not None
    naive = [[0] * 4 for _ in range(4)]
    for true, other in zip(labels, predicted.tolist(), strict=True):
        naive[true][other] += 1
    assert found.confusion.tolist() == naive
    seen = read_page(confusion_table(found.confusion, ["a", "b", "c", "d"]))
    cells = [given for tag, given in seen.tags if tag == "td"][1:]  # the first is the corner
    assert len(cells) == 16
    for i, row in enumerate(naive):
        for j, count in enumerate(row):
            told = cells[4 * i + j].get("title", "")
            if count:
                assert told.startswith(f"{'abcd'[i]}: {count} of {sum(row)}")
                shade = int(cells[4 * i + j]["style"].removeprefix("--share:").removesuffix("%"))
                assert abs(shade - (15 + 85 * count / sum(row))) <= 0.5
            else:
                assert told == ""


def test_without_logits_the_nearest_other_item_predicts(make_material: Callable[..., ReportMaterial]) -> None:
    x = torch.tensor([[0.0], [1.0], [5.0], [5.5]])
    material = make_material([0, 0, 1, 0], embeddings=x, normalized=False)
    predicted = Analysis(material).predicted
    assert predicted is not None
    assert predicted.classes.tolist() == [0, 0, 0, 1]
    assert "nearest" in predicted.by


def test_logits_predict_where_there_are_some(make_material: Callable[..., ReportMaterial]) -> None:
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    predicted = Analysis(make_material([0, 0, 1], logits=logits)).predicted
    assert predicted is not None
    assert predicted.classes.tolist() == [1, 0, 1]


def test_words_are_sorted_by_count_and_then_by_share() -> None:
    confusion = torch.tensor([[8, 2, 0], [2, 2, 0], [1, 0, 0]])
    assert most_confused(confusion, 9) == [
        Confusion(1, 0, 2, 4),
        Confusion(0, 1, 2, 10),
        Confusion(2, 0, 1, 1),
    ]
    assert len(most_confused(confusion, 1)) == 1
    assert most_confused(torch.eye(3, dtype=torch.int64), 5) == []


def test_of_very_many_classes_those_with_errors_are_shown(read_page: Callable[[str], Any]) -> None:
    confusion = 5 * torch.eye(171, dtype=torch.int64)
    confusion[150, 170] = 3
    shown = shown_classes(confusion)
    assert len(shown) == 60
    assert {150, 170} <= set(shown)
    assert shown == sorted(shown)
    seen = read_page(confusion_table(confusion, [str(c) for c in range(171)]))
    assert seen.classes("table") == ["confusion crowd"]
    assert "150: 3 of 8 taken for 170" in [given.get("title") for _, given in seen.tags]
