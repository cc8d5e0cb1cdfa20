"""Retrieval measures from their definitions, as plain Python loops over sorted lists."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

Vector = Sequence[float]
NAMES = ("nn", "ft", "st", "e", "dcg", "map", "map_at_r", "mrr")
AT = (1, 2, 5, 100)  # of those that are measured unless others are asked for
NAMES_AT = tuple(f"{name}_{k}" for name in ("recall_at", "map_at") for k in AT)


@dataclass(frozen=True)
class NaiveScores:
    micro: dict[str, float]
    macro: dict[str, float]
    micro_curve: list[float]  # 21 recalls
    macro_curve: list[float]
    micro_precision: list[float]  # at 1, 2, ..
    macro_precision: list[float]
    per_query: list[dict[str, float] | None]
    n_queries: int
    n_skipped: int
    per_class: dict[int, dict[str, float]]  # of the classes with a query that is counted


def naive_retrieval_scores(
    query: Sequence[Vector],
    query_labels: Sequence[int],
    gallery: Sequence[Vector],
    gallery_labels: Sequence[int],
    self_indices: Sequence[int],
    *,
    distance: str = "euclidean",
    pessimistic: bool = True,
    absent_is_zero: bool = False,
    ap_padded: bool = False,
) -> NaiveScores:
    """Score queries of any modality against a gallery of any other, one by one.

    ``ap_padded``: the precisions of each query stand in a row of zeros as long as the largest number of relevant
    items that any query has, and AP is the mean of the row.
    """
    widest = max(
        sum(j != own and gallery_labels[j] == label for j in range(len(gallery)))
        for label, own in zip(query_labels, self_indices, strict=True)
    )
    per_query: list[dict[str, float] | None] = []
    curves, precisions = [], []
    longest = 0
    for x, label, own in zip(query, query_labels, self_indices, strict=True):
        ranking = []
        for j in range(len(gallery)):
            if j != own:
                relevant = gallery_labels[j] == label
                ranking.append((_distance(x, gallery[j], distance), relevant == pessimistic, relevant))
        ranking.sort()  # by distance, then irrelevant first if pessimistic
        G = [int(relevant) for _, _, relevant in ranking]
        longest = max(longest, len(G))
        if sum(G) == 0:
            per_query.append(dict.fromkeys(NAMES + NAMES_AT, 0.0) if absent_is_zero else None)
            curves.append([0.0] * 21)
        else:
            per_query.append(_measures(G, widest if ap_padded else sum(G)))
            curves.append(_curve(G))
        precisions.append(G)
    hits = [[sum(G[:k]) / k for k in range(1, longest + 1)] for G in precisions]

    counted = [i for i, scores in enumerate(per_query) if scores is not None]
    rows = {i: list(per_query[i].values()) + curves[i] + hits[i] for i in counted}  # type: ignore[union-attr]
    micro = _mean([rows[i] for i in counted])
    n = len(NAMES + NAMES_AT)
    by_class = defaultdict(list)
    for i in counted:
        by_class[query_labels[i]].append(rows[i])
    means = {label: _mean(members) for label, members in by_class.items()}
    macro = _mean(list(means.values()))
    return NaiveScores(
        micro=dict(zip(NAMES + NAMES_AT, micro, strict=False)),
        macro=dict(zip(NAMES + NAMES_AT, macro, strict=False)),
        micro_curve=micro[n:-longest],
        macro_curve=macro[n:-longest],
        micro_precision=micro[-longest:],
        macro_precision=macro[-longest:],
        per_query=per_query,
        n_queries=len(counted),
        n_skipped=len(query) - len(counted),
        per_class={label: dict(zip(NAMES, row, strict=False)) for label, row in means.items()},
    )


def _distance(x: Vector, y: Vector, distance: str) -> float:
    if distance == "euclidean":
        return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return 1 - dot / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


def _measures(G: list[int], ap_width: int) -> dict[str, float]:
    C = sum(G)
    first = G[:32]
    P, R = sum(first) / len(first), sum(first) / C
    gain, best = float(G[0]), 1.0
    for k in range(2, len(G) + 1):
        gain += G[k - 1] / math.log2(k)
    for k in range(2, C + 1):
        best += 1 / math.log2(k)
    precisions = [sum(G[:k]) / k for k in range(1, len(G) + 1) if G[k - 1]]
    return {
        "nn": float(G[0]),
        "ft": sum(G[:C]) / C,
        "st": sum(G[: 2 * C]) / C,
        "e": 0.0 if P + R == 0 else 2 * P * R / (P + R),
        "dcg": gain / best,
        "map": _mean([[p] for p in precisions + [0.0] * (ap_width - C)])[0],
        "map_at_r": _ap_at(G, C),
        "mrr": 1 / (G.index(1) + 1),
        **{f"recall_at_{k}": float(any(G[:k])) for k in AT},
        **{f"map_at_{k}": _ap_at(G, k) for k in AT},
    }


def _ap_at(G: list[int], k: int) -> float:
    precisions = [sum(G[:rank]) / rank for rank in range(1, min(k, len(G)) + 1) if G[rank - 1]]
    return sum(precisions) / min(k, sum(G))


def _curve(G: list[int]) -> list[float]:
    """Best precision at the recalls 0, 1/20, .., 1 or a higher one, over all ranks."""
    C = sum(G)
    points = [(sum(G[:k]), sum(G[:k]) / k) for k in range(1, len(G) + 1)]
    return [max(precision for hits, precision in points if 20 * hits >= step * C) for step in range(21)]


def _mean(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]
