"""The loss between modalities."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from batchot.losses.problem import (
    AcrossWeights,
    Batches,
    Distance,
    Term,
    TermWeights,
    WithinWeights,
    check_distance,
    check_embeddings,
    check_labels,
    labelled_rows,
    listed,
)
from batchot.losses.report import PlanReport, plan_report
from batchot.losses.settings import BatchOTSettings, preset
from batchot.losses.solve import term_losses


class CrossModalBase(nn.Module, ABC):
    """A weighted sum of terms; a subclass computes them."""

    ignore_label: int | None = None  # label of rows that are left out of all terms

    def __init__(self, weights: TermWeights) -> None:
        super().__init__()
        self.weights = weights

    def forward(
        self,
        batches: Batches | Tensor,
        sketch_labels: Tensor | None = None,
        shape: Tensor | None = None,
        shape_labels: Tensor | None = None,
    ) -> Tensor:
        """The weighted sum of the terms."""
        terms, losses = self._found(batches, sketch_labels, shape, shape_labels)
        if all(term.weight == 1.0 for term in terms):
            return losses.sum()
        return (losses * losses.new_tensor([term.weight for term in terms])).sum()

    def terms(
        self,
        batches: Batches | Tensor,
        sketch_labels: Tensor | None = None,
        shape: Tensor | None = None,
        shape_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The value of every term by name, not weighted; arguments as for the loss itself."""
        terms, losses = self._found(batches, sketch_labels, shape, shape_labels)
        return {term.name: loss for term, loss in zip(terms, losses.unbind(), strict=True)}

    def _found(self, *given: Any) -> tuple[tuple[Term, ...], Tensor]:
        checked = check_batches(*given, ignore_label=self.ignore_label)
        terms = self._terms(checked)
        return terms, self._losses(terms, checked)  # (k,)

    def _terms(self, batches: Batches) -> tuple[Term, ...]:
        return self.weights.terms({name: len(x) for name, (x, _) in batches.items()})

    @abstractmethod
    def _losses(self, terms: Sequence[Term], batches: Batches) -> Tensor:
        """The values of the terms, (k,), not weighted."""

    def extra_repr(self) -> str:
        """The weights of the terms."""
        shown = f"within={self.weights.within}, across={self.weights.across}"
        return f"{shown}, four_terms=True" if self.weights.four_terms else shown


_FOUR_TERM_PRESETS = ("author-code-shrec",)


class CrossModalBatchOTLoss(CrossModalBase):
    r"""The loss of :func:`batchot.batch_ot_loss` within every modality and across every pair, each with its own plan.

    .. math::
        L = \sum_k w_k \, L(X_k, X_k) + \sum_{k < l} w_{kl} \, L(X_k, X_l)

    A batch against itself leaves the diagonal out. With ``four_terms`` each batch is cut into halves X, X', as the
    authors' program does: :math:`L = \sum_k w_k L(X_k, X'_k) + \sum_{k < l} w_{kl} (L(X_k, X_l) + L(X'_k, X'_l))`.
    On a CPU all plans are solved as one stack, in one compiled call.

    Source: Xu, Sun and Liu, Learning with Batch-wise Optimal Transport Loss for 3D Shape Recognition, CVPR 2019,
    section 5, and the authors' program for SHREC'13 and SHREC'14.

    Args:
        within: w_k, weight of the term of each modality; one number, or one by name. A mapping lists the terms that
            there are: a modality that it does not name has none.
        across: w_kl, weight of each pair of modalities; one number, or one by pair of names, in any order.
        four_terms: the authors' form. Draw the halves of a batch with the same classes; where the size is odd, the
            first half has one sample more.
        margin, pos_margin, gamma, lam, normalize, plan, grad: see :func:`batchot.batch_ot_loss`.
        distance, distance_power, power, tolerance, max_iterations, ignore_label: see :func:`batchot.batch_ot_loss`.
        term_settings: options of single terms, by name: "sketch/sketch", "shape/shape", "sketch/shape"; with
            ``four_terms`` "sketch/sketch'", "shape/shape'", "sketch/shape", "sketch'/shape'". Others have the above.

    Raises:
        ValueError: an option is out of range; at the call, a weight or settings name what is not there, or batches
            differ in dimension or device, are empty or hold NaN.

    Example:
        >>> import torch
        >>> loss = CrossModalBatchOTLoss(within={"sketch": 1.0, "shape": 0.5}, lam=10.0)
        >>> sketches, shapes = torch.eye(4).requires_grad_(), torch.eye(4)[:3]
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> value = loss({"sketch": (sketches, labels), "shape": (shapes, labels[:3])})
        >>> value.backward()
        >>> list(loss.terms(sketches, labels, shapes, labels[:3]))
        ['sketch/sketch', 'shape/shape', 'sketch/shape']
    """

    def __init__(
        self,
        within: WithinWeights = 1.0,
        across: AcrossWeights = 1.0,
        *,
        four_terms: bool = False,
        margin: float = 1.0,
        pos_margin: float = 0.0,
        gamma: float = 3.0,
        lam: float = 5.0,
        normalize: bool = True,
        plan: Literal["transport", "uniform"] = "transport",
        grad: Literal["detach", "implicit"] = "detach",
        distance: Distance | None = None,
        distance_power: Literal[1, 2] = 2,
        power: Literal[1, 2] = 1,
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
        ignore_label: int | None = -1,
        term_settings: Mapping[str, BatchOTSettings] | None = None,
    ) -> None:
        super().__init__(TermWeights(within, across, four_terms))
        self.settings = BatchOTSettings(
            margin, pos_margin, gamma, lam, normalize, plan, grad, distance_power, power, tolerance, max_iterations,
            ignore_label,
        )  # fmt: skip
        check_distance(distance)
        self.distance = distance
        self.ignore_label = ignore_label
        self.term_settings = dict(term_settings or {})
        self._by_key = {_term_key(name): settings for name, settings in self.term_settings.items()}

    @classmethod
    def from_settings(
        cls,
        settings: BatchOTSettings,
        within: WithinWeights = 1.0,
        across: AcrossWeights = 1.0,
        *,
        four_terms: bool = False,
        distance: Distance | None = None,
        term_settings: Mapping[str, BatchOTSettings] | None = None,
    ) -> CrossModalBatchOTLoss:
        """The loss with these settings in every term that ``term_settings`` does not name."""
        return cls(
            within,
            across,
            four_terms=four_terms,
            distance=distance,
            term_settings=term_settings,
            **dataclasses.asdict(settings),
        )

    @classmethod
    def from_preset(
        cls,
        name: str,
        within: WithinWeights = 1.0,
        across: AcrossWeights = 1.0,
        *,
        four_terms: bool | None = None,
    ) -> CrossModalBatchOTLoss:
        """The loss with the settings of that name in :data:`batchot.losses.PRESETS`.

        ``four_terms=None`` is True for "author-code-shrec", whose program has them, and False for the others.
        """
        if four_terms is None:
            four_terms = name in _FOUR_TERM_PRESETS
        return cls.from_settings(preset(name), within, across, four_terms=four_terms)

    def report(
        self,
        batches: Batches | Tensor,
        sketch_labels: Tensor | None = None,
        shape: Tensor | None = None,
        shape_labels: Tensor | None = None,
    ) -> dict[str, PlanReport]:
        """What the plan of every term that has pairs does, by name; see :func:`batchot.plan_report`."""
        checked = check_batches(batches, sketch_labels, shape, shape_labels, ignore_label=self.ignore_label)
        terms = self._terms(checked)
        reports: dict[str, PlanReport] = {}
        for term, settings in zip(terms, self._settings_of(terms), strict=True):
            if term.has_pairs:
                p = term.problem(checked, settings, self.distance)
                reports[term.name] = plan_report(
                    p.x, p.labels, None, p.y, p.y_labels, settings=settings, distance=self.distance
                )
        return reports

    def _losses(self, terms: Sequence[Term], batches: Batches) -> Tensor:
        return term_losses(terms, batches, self._settings_of(terms), self.distance)

    def _settings_of(self, terms: Sequence[Term]) -> Sequence[BatchOTSettings]:
        keys = [_term_key(term.name) for term in terms]
        if unknown := [name for name in self.term_settings if _term_key(name) not in keys]:
            raise ValueError(
                f"term_settings name {listed(unknown)}, but the terms are {listed(t.name for t in terms)}."
            )
        return [self._by_key.get(key, self.settings) for key in keys]

    def extra_repr(self) -> str:
        """The weights and the options that differ from the defaults."""
        single = [f"{name}: {settings}" for name, settings in self.term_settings.items()]
        return ", ".join([super().extra_repr(), *self.settings.shown(), *single])


class CrossModal(CrossModalBase):
    """A loss called as ``loss(embeddings, labels, ref_emb=, ref_labels=)``, summed over the terms of modalities."""

    def __init__(
        self,
        loss: nn.Module,
        within: WithinWeights = 1.0,
        across: AcrossWeights = 1.0,
        *,
        four_terms: bool = False,
    ) -> None:
        super().__init__(TermWeights(within, across, four_terms))
        self.loss = loss

    def _losses(self, terms: Sequence[Term], batches: Batches) -> Tensor:
        return torch.stack([self._loss(term, batches) for term in terms])

    def _loss(self, term: Term, batches: Batches) -> Tensor:
        if not term.has_pairs:
            return term.zero(batches)
        p = term.problem(batches, BatchOTSettings(), None)
        second = {} if p.y is None else {"ref_emb": p.y, "ref_labels": p.y_labels}
        value: Tensor = self.loss(p.x, p.labels, **second)
        return value


def _term_key(name: str) -> frozenset[str]:
    """What a term's name says, whatever the order of its sides."""
    return frozenset(name.split("/"))


def check_batches(
    batches: Batches | Tensor,
    sketch_labels: Tensor | None,
    shape: Tensor | None,
    shape_labels: Tensor | None,
    *,
    ignore_label: int | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """The arguments of a call as checked batches without ignored rows, or an error that says what arrived."""
    if isinstance(batches, Tensor):
        if sketch_labels is None or shape is None or shape_labels is None:
            raise ValueError(
                "two modalities are given as (sketch, sketch_labels, shape, shape_labels), or any number as "
                "{name: (embeddings, labels)}."
            )
        batches = {"sketch": (batches, sketch_labels), "shape": (shape, shape_labels)}
    elif not (sketch_labels is None and shape is None and shape_labels is None):
        raise ValueError("a mapping of batches is the only argument; labels belong into it.")
    if not batches:
        raise ValueError("there are no batches.")
    checked: dict[str, tuple[Tensor, Tensor]] = {}
    for name, (embeddings, labels) in batches.items():
        check_embeddings(f"embeddings of {name!r}", embeddings)
        labels = check_labels(f"labels of {name!r}", labels, embeddings)
        checked[name] = labelled_rows(embeddings, labels, ignore_label)
    widths = {name: x.shape[1] for name, (x, _) in checked.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"all modalities must be embedded in one dimension, got {widths}.")
    devices = {name: str(x.device) for name, (x, _) in checked.items()}
    if len(set(devices.values())) > 1:
        raise ValueError(f"all modalities must be on one device, got {devices}.")
    return checked
