from __future__ import annotations

import pytest
import torch

from batchot.evaluation.ranking import relevant_ranks


def test_every_query_with_something_relevant_comes_once_and_chunks_are_bounded():
    g = torch.Generator().manual_seed(0)
    x, classes = torch.randn(120, 4, generator=g), torch.randint(0, 12, (120,), generator=g)
    classes[7] = 12  # alone
    own = torch.arange(120)
    chunks = list(relevant_ranks(x, classes, x, classes, own, chunk_bytes=20_000, engine="numba"))
    rows = torch.cat([chunk.rows for chunk in chunks])
    assert sorted(rows.tolist()) == [i for i in range(120) if i != 7]
    assert len(chunks) > 5
    for chunk in chunks:
        assert len(chunk.rows) * 120 * x.element_size() <= 20_000
        assert torch.equal(chunk.n_relevant, torch.isfinite(chunk.ranks).sum(dim=1))


@pytest.mark.parametrize("engine", ["torch", "numba"])
def test_ranks_are_places_in_the_sorted_gallery(engine):
    g = torch.Generator().manual_seed(1)
    x, z = torch.randn(9, 3, generator=g), torch.randn(50, 3, generator=g)
    classes, gallery_classes = torch.arange(9) % 4, torch.randint(0, 4, (50,), generator=g)
    none = torch.full((9,), -1)
    order = torch.cdist(x, z).argsort(dim=1)
    for chunk in relevant_ranks(x, classes, z, gallery_classes, none, engine=engine):
        for row, ranks, n in zip(chunk.rows, chunk.ranks, chunk.n_relevant, strict=True):
            places = (gallery_classes[order[row]] == classes[row]).nonzero()[:, 0] + 1
            assert ranks[:n].tolist() == places.tolist()


def test_numba_on_another_device_is_refused():
    x = torch.zeros(3, 2, device="meta")
    from batchot.evaluation.ranking import _is_compiled

    with pytest.raises(ValueError, match='needs CPU tensors, these are on meta; use engine="auto"'):
        _is_compiled("numba", x.device, 1)
    assert not _is_compiled("auto", x.device, 10**9)
    assert _is_compiled("auto", torch.device("cpu"), 10**9)
