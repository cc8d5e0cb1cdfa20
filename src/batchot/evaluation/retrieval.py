"""Retrieval measures of embeddings: NN, FT, ST, E, DCG, mAP, precision at k, precision-recall curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from batchot.evaluation.ranking import (
    Distance,
    Engine,
    Ties,
    checked_embeddings,
    checked_labels,
    checked_same_dimension,
    count_relevant,
    full_precision,
    relevant_ranks,
)
from batchot.evaluation.scores import ApConvention, RetrievalScores, Totals

Absent = Literal["skip", "zero"]


def retrieval_scores(
    query: Tensor,
    query_labels: Tensor,
    gallery: Tensor | None = None,
    gallery_labels: Tensor | None = None,
    *,
    distance: Distance = "euclidean",
    self_indices: Tensor | None = None,
    ties: Ties = "pessimistic",
    absent: Absent = "skip",
    ap_convention: ApConvention = "relevant",
    at: Sequence[int] = (1, 2, 4, 5, 8, 10, 100, 1000),
    chunk_bytes: int = 2**28,
    engine: Engine = "auto",
) -> RetrievalScores:
    r"""Score how well the nearest items of each query are of its class.

    For a query with C relevant items, :math:`G_k = 1` if the item at rank k is relevant:
    :math:`NN = G_1`, :math:`FT = \sum_{k \le C} G_k / C`, :math:`ST = \sum_{k \le 2C} G_k / C`,
    :math:`E = 2PR / (P + R)` over the first 32,
    :math:`DCG = (G_1 + \sum_{k \ge 2} G_k / \log_2 k) / (1 + \sum_{k=2}^{C} 1 / \log_2 k)`,
    AP the mean over the relevant items of the precision at their rank, :math:`\frac1C \sum_j j / r_j`, and
    over the first k items :math:`AP@k = \frac{1}{\min(k, C)} \sum_{r_j \le k} j / r_j`, so ``map_at_r`` is
    that of k = C (MAP@R); ``mrr`` the mean of :math:`1 / r_1`; ``recall_at[k]`` the share of the queries with
    :math:`r_1 \le k`, as metric learning has it.

    Conventions:

    - Self-matches: without a gallery the queries are the gallery and each query is left out of its own
      ranking, by its index and not by its distance, so that a duplicate of it counts. With a gallery nothing
      is left out, unless ``self_indices`` says what.
    - Ties: "pessimistic" ranks irrelevant items before relevant ones at the same distance. So the score does
      not depend on the order of the gallery, and an embedding that maps all to one point gains nothing by it.
    - Queries with nothing relevant in the gallery (a class of one, a class that the gallery lacks) have no
      AP. They are left out and counted in ``n_skipped``; ``absent="zero"`` counts each as 0 in every measure
      instead.
    - AP: "relevant" is the mean over the C relevant items of the query, the usual definition. "shrec13" is what
      the evaluation code of the SHREC'13 and later sketch tracks prints: the precisions are filled up with
      zeros to the largest C of all queries, :math:`AP \cdot C / C_{max}`, so a perfect ranking has 1 in the
      largest class only. Nothing but AP and mAP changes by it; never compare numbers of the two conventions.
    - A gallery may be of another modality than the queries (shapes for sketches), of any size; its classes that
      no query has are distractors, and are in no average.
    - Where 2C exceeds the gallery, ST sums to its end. Where fewer than 32 items are ranked, E is F1 over all
      of them.
    - The curve is interpolated: at the recalls 0, 0.05, .., 1 the best precision at that recall or a higher
      one.
    - Distances are computed in float32 (float64 for float64 embeddings): a tie is equality there. Where the
      numbers are whole, such as codes of +-1, counts or pixels, or multiples of another step, ties are those
      of exact arithmetic, with either distance.

    Args:
        query: ``(n, d)`` embeddings, on any device; all is computed there.
        query_labels: ``(n,)`` integers.
        gallery: ``(m, d)``, or None for the queries themselves.
        gallery_labels: ``(m,)`` integers, given if and only if ``gallery`` is.
        distance: "euclidean" or "cosine".
        self_indices: ``(n,)`` for each query the gallery index of the same item, -1 for none; needs a
            gallery.
        ties: "pessimistic" or "optimistic".
        absent: "skip" or "zero".
        ap_convention: "relevant" or "shrec13".
        at: the k of ``recall_at`` and ``map_at``; one beyond the gallery counts as all of it.
        chunk_bytes: bytes of working memory beside the embeddings; the result does not depend on it.
        engine: how ranks are counted: "torch", "numba" (CPU only), or "auto", which is numba for large
            problems on the CPU. The result does not depend on it.

    Returns:
        RetrievalScores: fractions averaged over queries; ``macro``: over classes; ``per_query`` and ``per_class``:
        tensors.

    Raises:
        TypeError: embeddings that are not floating point, labels that are not integers.
        ValueError: shapes that do not fit, no queries, NaN or infinity (with the row), no query with anything
            relevant, an unknown option.

    Source:
        Shilane, Min, Kazhdan, Funkhouser, "The Princeton Shape Benchmark", 2004. For "shrec13": the MATLAB
        evaluation code published with the track, where ``P_points`` has ``max(C)`` columns of zeros and AP is
        ``mean(P_points(query, :))``.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [1.5], [4.0]])
        >>> scores = retrieval_scores(x, torch.tensor([0, 0, 1, 1]))
        >>> scores.nn, scores.map
        (0.5, 0.7083333333333333)
        >>> scores.precision_at_k(1), scores.n_queries
        (0.5, 4)
        >>> scores.recall_at[2], scores.map_at_r, scores.to_dict()["macro_mrr"]
        (0.75, 0.5, 0.7083333333333333)
    """
    for name, value, allowed in (
        ("ties", ties, get_args(Ties)),
        ("absent", absent, get_args(Absent)),
        ("ap_convention", ap_convention, get_args(ApConvention)),
        ("engine", engine, get_args(Engine)),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
    if any(k < 1 for k in at):
        raise ValueError(f"at must be positive numbers of items, got {list(at)}")
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be positive, got {chunk_bytes}")
    query = checked_embeddings("query", query)
    device = query.device
    query_labels = checked_labels("query_labels", query_labels, len(query), "query").to(device)
    if gallery is None:
        if gallery_labels is not None or self_indices is not None:
            raise ValueError(
                "gallery_labels and self_indices need a gallery; without one the queries are the gallery"
            )
        gallery, gallery_labels = query, query_labels
        self_indices = torch.arange(len(query), device=device)
    else:
        if gallery_labels is None:
            raise ValueError("gallery_labels is missing: a gallery needs the label of each item")
        gallery = checked_embeddings("gallery", gallery).to(device)
        gallery_labels = checked_labels("gallery_labels", gallery_labels, len(gallery), "gallery").to(device)
        self_indices = _checked_self_indices(self_indices, query, gallery)
    checked_same_dimension("query", query, "gallery", gallery)

    values, classes = torch.cat([query_labels, gallery_labels]).unique(return_inverse=True)
    query_classes, gallery_classes = classes[: len(query)], classes[len(query) :]
    n_relevant = count_relevant(query_classes, gallery_classes, self_indices)
    counted = torch.ones_like(n_relevant, dtype=torch.bool) if absent == "zero" else n_relevant > 0  # (n,)
    if not bool(counted.any()):
        raise ValueError(
            f"none of the {len(query)} queries has a relevant item in the gallery of {len(gallery)}: "
            "every class is absent from it, or has the query alone; check that both use the same labels"
        )

    n_ranked = len(gallery) - (self_indices >= 0).long()  # (n,)
    n_gallery = torch.bincount(gallery_classes, minlength=len(values))
    totals = Totals(query_classes, counted, n_relevant, int(n_ranked.max()), ap_convention, at)
    with full_precision(device):
        for chunk in relevant_ranks(
            query,
            query_classes,
            gallery,
            gallery_classes,
            self_indices,
            distance=distance,
            ties=ties,
            chunk_bytes=chunk_bytes,
            engine=engine,
        ):
            totals.add(chunk, n_ranked[chunk.rows])
    return totals.scores(values, n_gallery)


def _checked_self_indices(self_indices: Tensor | None, query: Tensor, gallery: Tensor) -> Tensor:
    if self_indices is None:
        return torch.full((len(query),), -1, device=query.device)
    self_indices = checked_labels("self_indices", self_indices, len(query), "query").to(query.device)
    outside = (self_indices < -1) | (self_indices >= len(gallery))
    if bool(outside.any()):
        row = int(outside.nonzero()[0])
        raise ValueError(
            f"self_indices must be from 0 to {len(gallery) - 1}, or -1 for none; "
            f"row {row} is {int(self_indices[row])}"
        )
    return self_indices
