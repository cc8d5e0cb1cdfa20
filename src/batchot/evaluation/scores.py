"""What a retrieval evaluation returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

ApConvention = Literal["relevant", "shrec13"]
SCALARS = ("nn", "ft", "st", "e", "dcg", "map", "map_at_r", "mrr")


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Interpolated precision at 21 recalls, averaged like the measures beside it; on the CPU, float64."""

    recall: Tensor  # (21,) 0, 0.05, .., 1
    precision: Tensor  # (21,) the best precision at this recall or a higher one


class AtK(dict[int, float]):
    """A measure at several k, ``recall_at[10]``."""

    def __missing__(self, k: int) -> float:
        raise KeyError(f"measured at k = {', '.join(map(str, self))} only; ask for {k} by at=[{k}]")


@dataclass(frozen=True, eq=False)
class RetrievalAverages:
    """The measures of retrieval as fractions, averaged over queries or over classes.

    ``map`` is the mean of AP; ``e`` is F1 over the first 32, higher is better.
    """

    nn: float
    ft: float
    st: float
    e: float
    dcg: float
    map: float
    map_at_r: float  # AP over the first C items only
    mrr: float  # mean of 1 / rank of the first relevant item
    recall_at: AtK = field(repr=False)  # k: how many queries have a relevant item among the first k
    map_at: AtK = field(
        repr=False
    )  # k: mean of AP over the first k items, 1 if the first min(k, C) are relevant
    pr_curve: PrecisionRecallCurve = field(repr=False)
    precision: Tensor = field(repr=False)  # (m,) precision among the first 1, 2, .., m items

    @property
    def r_precision(self) -> float:
        """The precision among the first C items, which is the first tier by another name."""
        return self.ft

    def precision_at_k(self, k: int) -> float:
        r"""Return the precision among the first k items, :math:`\sum_{j \le k} G_j / k`.

        Args:
            k: from 1 to the number of gallery items that are ranked (one less than the gallery where each
                query itself is left out of it).

        Raises:
            ValueError: k is out of this range.
        """
        if not 1 <= k <= len(self.precision):
            raise ValueError(f"k must be from 1 to {len(self.precision)}, the items that are ranked; got {k}")
        return float(self.precision[k - 1])

    def to_dict(self) -> dict[str, float]:
        """Return all that is one number, by name, such as ``"map"`` and ``"recall_at_10"``: what loggers take."""
        numbers = {name: getattr(self, name) for name in SCALARS}
        for name in ("recall_at", "map_at"):
            numbers |= {f"{name}_{k}": value for k, value in getattr(self, name).items()}
        return numbers


@dataclass(frozen=True, eq=False)
class QueryScores:
    """The measures of each query, in the order of the queries, on the CPU; NaN where a query was left out."""

    nn: Tensor  # (n,) float64, as all that follow
    ft: Tensor
    st: Tensor
    e: Tensor
    dcg: Tensor
    ap: Tensor
    ap_at_r: Tensor
    rr: Tensor  # 1 / rank of the first relevant item
    n_relevant: Tensor  # (n,) int64, the C of each query


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """The measures of each class that queries have: means over its queries, on the CPU, by ascending label.

    NaN where every query of the class was left out.
    """

    labels: Tensor  # (c,) int64
    nn: Tensor  # (c,) float64, as all that follow
    ft: Tensor
    st: Tensor
    e: Tensor
    dcg: Tensor
    map: Tensor
    map_at_r: Tensor
    mrr: Tensor
    n_queries: Tensor  # (c,) int64, queries in the means
    n_gallery: Tensor  # (c,) int64, items of the class in the gallery, a query that is one of them counted

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class RetrievalScores(RetrievalAverages):
    """Averages over queries (micro), those over classes in ``macro``, and what they were made from."""

    macro: RetrievalAverages  # the mean over classes of the mean over the queries of the class
    per_query: QueryScores = field(repr=False)
    per_class: ClassMeans = field(repr=False)
    n_queries: int  # queries in the averages
    n_skipped: int  # queries left out because the gallery has nothing relevant to them
    ap_convention: ApConvention = "relevant"  # what is averaged in AP, and so in map

    def to_dict(self) -> dict[str, float]:
        """Return all that is one number, by name; averages over classes are ``"macro_map"`` and so on."""
        macro = {f"macro_{name}": value for name, value in self.macro.to_dict().items()}
        return super().to_dict() | macro | {"n_queries": self.n_queries, "n_skipped": self.n_skipped}
