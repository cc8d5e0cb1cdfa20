from __future__ import annotations

import torch

from batchot.reporting import draw_neighbours, nearest


def test_nearest_are_sorted_and_leave_out_the_query_but_not_its_twin() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    assert nearest(x, torch.tensor([0, 2]), k=3).tolist() == [[1, 3, 2], [3, 0, 1]]


def test_wrong_neighbours_and_only_they_are_framed() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    x = torch.tensor([[0.0], [3.0], [1.0], [9.0]])  # the item nearest to 0 is of class 1
    images = torch.zeros(4, 3, 5, 5, dtype=torch.uint8)
    figure = draw_neighbours(images, x, labels, ("a", "b"), title="t", columns=3)
    grid = [axes for axes in figure.axes if axes.images]
    assert len(grid) == 2 * 4
    framed = [axes.spines["left"].get_visible() for axes in grid]
    queries = [row[0].get_ylabel() for row in (grid[:4], grid[4:])]
    assert queries == ["a", "b"]
    for row in (framed[:4], framed[4:]):
        assert not row[0]
        assert sum(row) == 2  # of the three others two are of the other class


def test_fewer_images_than_columns() -> None:
    figure = draw_neighbours(
        torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.eye(2), torch.tensor([0, 0]), ("a",), title="t"
    )
    assert len([axes for axes in figure.axes if axes.images]) == 2
