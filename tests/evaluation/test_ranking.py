from __future__ import annotations

import pytest
import torch

from batchot.evaluation.ranking import comparable_items, full_precision, relevant_ranks


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_keys_are_squared_distances_up_to_a_scale_and_a_constant_per_query(dtype, offset, distance):
    g = torch.Generator().manual_seed(0)
    query = (torch.randn(20, 6, generator=g) + offset).to(dtype)
    gallery = (torch.randn(30, 6, generator=g) + offset).to(dtype)
    keys = comparable_items(query, gallery, distance).keys(torch.arange(20)).double()
    if distance == "euclidean":
        exact = torch.cdist(query.double(), gallery.double()).square()
    else:
        exact = 2 - 2 * torch.cosine_similarity(query.double()[:, None], gallery.double()[None], dim=2)
    keys, exact = keys - keys[:, :1], exact - exact[:, :1]
    scale = (keys * exact).sum() / (exact * exact).sum()
    # cosine: unit vectors themselves are rounded to 1e-7, beside differences of 1e-6 at the large offset
    tolerance = 1e-6 if dtype == torch.float64 else 2e-5 if offset == 0 or distance == "euclidean" else 0.3
    assert float((keys / scale - exact).abs().max() / exact.abs().max()) < tolerance
    if distance == "euclidean":
        assert float(scale.log2()) == pytest.approx(round(float(scale.log2())), abs=1e-4)  # a power of two


def test_equal_items_are_kept_once():
    gallery = torch.tensor([[0.1, 2.0], [3.0, 0.7], [0.1, 2.0]])
    items = comparable_items(gallery, gallery, "euclidean")
    assert len(items.gallery) == 2
    keys = items.keys(torch.arange(3))
    assert torch.equal(keys[:, 0], keys[:, 2])
    assert keys.argmin(dim=1).tolist()[1] == 1


def _settings() -> list[str]:
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="PyTorch before 2.9 has one setting"
)
def test_precision_settings_of_either_interface_are_restored():
    start = _settings()
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        with full_precision(torch.device("cpu")):
            assert _settings() == ["ieee", "ieee"]
            assert not torch.is_grad_enabled()
        assert _settings() == ["tf32", "bf16"]
        with pytest.raises(RuntimeError, match="inside"), full_precision(torch.device("cpu")):
            raise RuntimeError("inside")
        assert _settings() == ["tf32", "bf16"]
    finally:
        torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision = start
