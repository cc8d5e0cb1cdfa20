from __future__ import annotations

import numpy as np
import torch

from batchot.reporting.embedding import SharedMap, draw_shared_map, lay_out_both


def test_points_keep_their_class_and_their_modality() -> None:
    generator = torch.Generator().manual_seed(0)
    y, z = torch.arange(60) % 3, torch.arange(50) % 4
    place = 30 * torch.eye(8)
    queries = place[y] + 0.1 * torch.randn(60, 8, generator=generator)
    gallery = place[4 + z] + 0.1 * torch.randn(50, 8, generator=generator)
    plane = lay_out_both(queries, y, gallery, z, limit=40)
    assert (int(plane.is_query.sum()), len(plane.points)) == (40, 80)
    # seven clusters far from each other: the nearest other point is of the same class and modality
    distances = np.linalg.norm(plane.points[:, None] - plane.points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(1)
    assert (plane.labels[nearest] == plane.labels).all()
    assert (plane.is_query[nearest] == plane.is_query).all()


def test_queries_are_hollow_and_the_gallery_filled_in_one_colour() -> None:
    points = np.arange(10.0).reshape(5, 2)
    plane = SharedMap(
        points, np.array([1, 1, 0, 0, 2]), np.array([True, False, True, False, False]), (0, 1), "by hand"
    )
    axes = draw_shared_map(plane, ("a", "b", "c"), ("sketches", "shapes")).axes[0]
    others, *classes = axes.collections  # of class 0, then of class 1
    assert others.get_offsets().tolist() == [[8, 9]]
    assert len(classes) == 4
    for found, sought, at in ((classes[0], classes[1], 2), (classes[2], classes[3], 0)):
        assert found.get_offsets().tolist() == [points[at + 1].tolist()]
        assert sought.get_offsets().tolist() == [points[at].tolist()]
        assert len(sought.get_facecolor()) == 0
        assert np.allclose(found.get_facecolor(), sought.get_edgecolor())
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "sketches",
        "shapes",
        "shapes of other classes",
    ]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]


def test_a_class_none_of_whose_queries_was_drawn_is_no_distractor() -> None:
    plane = lay_out_both(
        torch.eye(4), torch.tensor([0, 1, 2, 3]), torch.eye(4), torch.tensor([0, 1, 2, 5]), limit=1
    )
    assert plane.asked == (0, 1, 2, 3)
    drawn = dict.fromkeys(plane.labels[~plane.is_query].tolist())
    grey = len(draw_shared_map(plane, list("abcdef"), ("a", "b")).axes[0].collections) - 2 * 4
    assert grey == (5 in drawn)


def test_names_that_would_lie_on_each_other_are_left_out() -> None:
    points = np.array([[0.0, 0.0], [0.01, 0.001], [1.0, 0.0], [0.0, 1.0]])
    plane = SharedMap(points, np.arange(4), np.ones(4, bool), (0, 1, 2, 3), "by hand")
    texts = draw_shared_map(plane, list("abcd"), ("sketches", "shapes")).axes[0].texts
    assert [text.get_text() for text in texts] == ["a", "c", "d"]
