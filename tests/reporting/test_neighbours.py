from __future__ import annotations

import io

import torch
from PIL import Image

from batchot.reporting.neighbours import choose_queries, draw_neighbours, nearest, nearest_of


def test_nearest_are_sorted_and_leave_out_the_query_but_not_its_twin() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    assert nearest(x, torch.tensor([0, 2]), k=3).tolist() == [[1, 3, 2], [3, 0, 1]]


def test_nearest_one_is_the_first_of_many() -> None:
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    everyone = torch.arange(60)
    assert nearest(x, everyone, k=1).tolist() == nearest(x, everyone, k=5)[:, :1].tolist()


def test_worst_queries_have_the_lowest_precision_of_their_class() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    ap = torch.tensor([0.9, 0.1, 0.2, 0.3, 0.8, 0.7, torch.nan])
    chosen = choose_queries(ap, labels, good=2, worst=3)
    assert [query.item for query in chosen if query.kind == "worst"] == [1, 2, 5]
    good = [query.item for query in chosen if query.kind == "good"]
    assert set(good) == {0, 4}  # the better half, of which 5 is among the worst of its class


def test_choice_of_queries_is_the_same_each_time_and_has_no_item_twice() -> None:
    ap = torch.rand(50, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 3  # fewer classes than queries
    chosen = choose_queries(ap, labels)
    assert chosen == choose_queries(ap, labels)
    assert len({query.item for query in chosen}) == len(chosen) == 12


def test_no_query_where_nothing_is_relevant() -> None:
    assert choose_queries(torch.full((3,), torch.nan), torch.arange(3)) == []


RED = (208, 48, 48)


def test_wrong_neighbours_and_only_they_are_framed() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    x = torch.tensor([[0.0], [3.0], [1.0], [9.0]])
    png = draw_neighbours(torch.zeros(4, 3, 5, 5, dtype=torch.uint8), x, labels, ("a", "b"), title="t")
    image = Image.open(io.BytesIO(png)).convert("RGB")
    # along the line through the middle of a row each framed picture crosses red at both sides, 2 pixels wide
    lines = [[image.getpixel((x, y)) == RED for x in range(image.width)] for y in range(image.height)]
    middles = [line for line in lines if sum(line) == 2 * 2 * 2]  # two wrong ones in each row
    assert len(middles) > 40
    assert max(map(sum, lines)) < image.width


def test_fewer_images_than_columns() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    png = draw_neighbours(images, torch.eye(2), torch.tensor([0, 0]), ("a",), title="")
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert RED not in [colour for _, colour in image.getcolors(10_000)]


def test_nearest_of_another_modality_equal_a_naive_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, gallery = (torch.randint(0, 3, (n, 2), generator=generator).float() for n in (7, 20))
    naive = [
        sorted(range(20), key=lambda j: (float((query - gallery[j]).square().sum()), j))[:5]
        for query in queries
    ]
    assert nearest_of(queries, gallery, 5).tolist() == naive
