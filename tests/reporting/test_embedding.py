from __future__ import annotations

import pytest
import torch

from batchot.reporting.embedding import draw_plane_map, embed_in_plane


@pytest.mark.parametrize(("n", "classes"), [(40, 3), (60, 30), (4, 2), (1, 1)])
def test_every_image_is_one_point_and_every_class_has_a_name(n: int, classes: int) -> None:
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(0))
    figure = draw_plane_map(embed_in_plane(x, torch.arange(n) % classes), [f"c{i}" for i in range(classes)])
    (axes,) = figure.axes
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == n
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"c{i}" for i in range(classes)]


def test_limit_and_embeddings_that_are_all_equal() -> None:
    plane = embed_in_plane(torch.ones(30, 4), torch.zeros(30, dtype=torch.int64), limit=20)
    figure = draw_plane_map(plane, ["a"])
    assert sum(len(dots.get_offsets()) for dots in figure.axes[0].collections) == 20


def test_clusters_stay_apart() -> None:
    centres = 100 * torch.eye(2, 6).repeat_interleave(20, 0)
    x = centres + torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    figure = draw_plane_map(embed_in_plane(x, torch.arange(40) // 20), ["a", "b"])
    a, b = (torch.as_tensor(dots.get_offsets().data) for dots in figure.axes[0].collections)
    assert torch.cdist(a, b).min() > torch.cdist(a, a).max()
