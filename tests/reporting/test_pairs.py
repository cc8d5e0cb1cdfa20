from __future__ import annotations

import pytest
import torch

from batchot.reporting import neighbours as pairs
from batchot.reporting.neighbours import hardest_pairs


def naive(x: torch.Tensor, labels: list[int], kind: str, k: int) -> list[tuple[int, int, float]]:
    """Sort all pairs, take each whose items are both unused."""
    found = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if (labels[i] == labels[j]) == (kind == "positive"):
                found.append((float((x[i].double() - x[j].double()).norm()), i, j))
    found.sort(key=lambda pair: -pair[0] if kind == "positive" else pair[0])
    used: set[int] = set()
    taken = []
    for distance, i, j in found:
        if not {i, j} & used:
            used |= {i, j}
            taken.append((i, j, distance))
    return taken[:k]


@pytest.mark.parametrize("kind", ["positive", "negative"])
@pytest.mark.parametrize("chunk", [1, 150, 2**24])
def test_equal_to_naive_loops(kind: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_PAIRS_AT_ONCE", chunk)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator)
    x[7] *= 30  # an outlier that is in every one of the farthest pairs
    labels = torch.randint(0, 5, (40,), generator=generator)
    found = hardest_pairs(x, labels, kind, k=9)  # type: ignore[arg-type]
    expected = naive(x, labels.tolist(), kind, 9)
    assert [(pair.i, pair.j) for pair in found] == [(i, j) for i, j, _ in expected]
    assert [pair.distance for pair in found] == pytest.approx([distance for *_, distance in expected])


def test_fewer_pairs_than_asked_for() -> None:
    x, one, each = torch.randn(3, 2), torch.zeros(3, dtype=torch.int64), torch.arange(3)
    assert len(hardest_pairs(x, one, "positive", k=5)) == 1  # the third item has nobody left
    assert hardest_pairs(x, one, "negative", k=5) == []
    assert hardest_pairs(x, each, "positive", k=5) == []
    assert hardest_pairs(x[:1], one[:1], "positive", k=5) == []


def test_negative_pairs_of_one_place_have_distance_zero() -> None:
    (pair,) = hardest_pairs(torch.ones(2, 3), torch.tensor([0, 1]), "negative", k=1)
    assert (pair.i, pair.j) == (0, 1)
    assert pair.distance == pytest.approx(0.0, abs=1e-7)
