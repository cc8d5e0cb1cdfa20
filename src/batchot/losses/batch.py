"""What a call of the loss brings: checked embeddings, which pairs are positive, and which may carry mass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.losses.settings import BatchOTSettings
from batchot.transport import misplacement, pair_distances

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """One call's input after the door: shapes, types and values are right."""

    x: Tensor  # (n, d)
    labels: Tensor | None  # (n,)
    y: Tensor | None  # (m, d), None: the batch against itself without the diagonal
    y_labels: Tensor | None  # (m,)
    indices_tuple: Sequence[Tensor] | None


def check_batch(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Sequence[Tensor] | None,
    ref_emb: Tensor | None,
    ref_labels: Tensor | None,
) -> Batch:
    """The arguments of a loss call as a :class:`Batch`, or an error that says what arrived."""
    check_embeddings("embeddings", embeddings, finite=not embeddings.is_cuda)
    if ref_emb is None and ref_labels is not None:
        raise ValueError("ref_labels were given without ref_emb.")
    if labels is None and indices_tuple is None:
        raise ValueError("labels are needed unless indices_tuple says which pairs are positive and negative.")
    if labels is not None:
        labels = check_labels("labels", labels, embeddings)
    if ref_emb is embeddings:  # as in pytorch-metric-learning, the same tensor is the same batch
        ref_emb, ref_labels = None, None
    if ref_emb is not None:
        check_embeddings("ref_emb", ref_emb, finite=not ref_emb.is_cuda)
        if ref_emb.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"embeddings and ref_emb must have one dimension, got {embeddings.shape[1]} and {ref_emb.shape[1]}."
            )
        if ref_labels is not None:
            ref_labels = check_labels("ref_labels", ref_labels, ref_emb)
        elif indices_tuple is None:
            raise ValueError(
                "ref_emb needs ref_labels (or an indices_tuple that says which pairs are positive)."
            )
    if indices_tuple is not None and len(indices_tuple) not in (3, 4):
        raise ValueError(
            f"indices_tuple must hold 3 tensors (triplets) or 4 (pairs), got {len(indices_tuple)}."
        )
    return Batch(embeddings, labels, ref_emb, ref_labels, indices_tuple)


def check_embeddings(name: str, x: Tensor, finite: bool = True) -> None:
    """Refuse embeddings that are not a finite (n, d) of at least one row, under the name that the caller knows.

    To look for NaN is to wait for the device: with finite=False that is left for later (see check_finite).
    """
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {tuple(x.shape)}.")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"{name} are empty, shape {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {x.dtype}.")
    if finite:
        _check_finite(name, x)


def check_finite(batch: Batch) -> None:
    """Refuse embeddings that hold NaN or infinite values, naming their rows."""
    _check_finite("embeddings", batch.x)
    if batch.y is not None:
        _check_finite("ref_emb", batch.y)


def _check_finite(name: str, x: Tensor) -> None:
    if torch.compiler.is_compiling():  # a graph cannot stop here: its operator looks, when it runs
        return
    # One sum finds every NaN and Inf (a finite overflow only costs the closer look).
    if not bool(torch.isfinite(x.detach().sum())):
        bad = (~torch.isfinite(x.detach())).any(1).nonzero().squeeze(1).tolist()
        if bad:
            rows = ", ".join(str(i) for i in bad[:5]) + (", ..." if len(bad) > 5 else "")
            raise ValueError(
                f"{name} hold NaN or infinite values in {len(bad)} of {x.shape[0]} rows: {rows}. "
                "Look at the network's input and learning rate; the loss was not computed."
            )


def check_labels(name: str, labels: Tensor, x: Tensor) -> Tensor:
    """One label a row of x, on the device of x."""
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), got {tuple(labels.shape)}.")
    if labels.shape[0] != x.shape[0]:
        raise ValueError(f"{labels.shape[0]} {name} came with {x.shape[0]} embeddings.")
    return labels if labels.device == x.device else labels.to(x.device)


def positive_pairs(batch: Batch) -> Tensor:
    """bool (n, m), True where a pair is positive: by the labels, or by indices_tuple where labels are missing."""
    if batch.labels is None or (batch.y is not None and batch.y_labels is None):
        return _scatter(batch, positives=True)
    other = batch.labels if batch.y_labels is None else batch.y_labels
    return batch.labels.unsqueeze(1) == other.unsqueeze(0)


def forbidden_pairs(batch: Batch) -> Tensor | None:
    """bool (n, m), True where a pair must get no mass; None where every pair may have some."""
    if batch.indices_tuple is not None:
        return ~(_scatter(batch, positives=True) | _scatter(batch, positives=False))
    if batch.y is None:
        return torch.eye(len(batch.x), dtype=torch.bool, device=batch.x.device)
    return None


def _scatter(batch: Batch, *, positives: bool) -> Tensor:
    assert batch.indices_tuple is not None
    t = batch.indices_tuple
    first, second = (t[0], t[1]) if positives else (t[0] if len(t) == 3 else t[2], t[-1])
    m = len(batch.x) if batch.y is None else len(batch.y)
    pairs = torch.zeros(len(batch.x), m, dtype=torch.bool, device=batch.x.device)
    pairs[first.to(pairs.device, torch.long), second.to(pairs.device, torch.long)] = True
    return pairs


def batch_misplacement(batch: Batch, settings: BatchOTSettings, distance: Distance | None = None) -> Tensor:
    """M (n, m), differentiable with respect to the embeddings; float32 or better whatever autocast says."""
    with torch.autocast(batch.x.device.type, enabled=False):
        if distance is None:
            x, y = (at_working_precision(z, settings.normalize) for z in (batch.x, batch.y))
            assert x is not None
            delta = pair_distances(x, y, power=settings.distance_power)
        else:
            x, y = at_working_precision(batch.x, False), at_working_precision(batch.y, False)
            assert x is not None
            delta = distance(x, x if y is None else y)
            if getattr(distance, "is_inverted", False):
                delta = 2.0 - 2.0 * delta  # cosine similarity to squared distance; see check_distance
        return misplacement(
            delta,
            positive_pairs(batch),
            margin=settings.margin,
            pos_margin=settings.pos_margin,
            power=settings.power,
        )


def check_misplacement(M: Tensor | float, batch: Batch) -> None:
    """Refuse a misplacement (or the sum of one) that embeddings of enormous length have made infinite."""
    total = float(M.detach().sum()) if isinstance(M, Tensor) else M
    if not math.isfinite(total):
        length = float(batch.x.detach().double().norm(dim=1).max())
        raise ValueError(
            f"the distances of these embeddings overflow {batch.x.dtype} (rows up to {length:.1e} long): training has "
            "diverged. Lower the learning rate, or normalise the embeddings (normalize=True)."
        )


def at_working_precision(x: Tensor | None, normalize: bool) -> Tensor | None:
    """x in float32 or float64, its rows divided by their norm where asked for (a row of zeros stays)."""
    if x is None:
        return None
    x = x if x.dtype == torch.float64 else x.float()
    return torch.nn.functional.normalize(x) if normalize else x


def check_distance(distance: Distance | None) -> None:
    """Refuse similarities that are no function of a distance (a dot product has no zero to be close to)."""
    if distance is None or not getattr(distance, "is_inverted", False):
        return
    if getattr(distance, "power", 1) != 1 or not getattr(distance, "normalize_embeddings", False):
        raise ValueError(
            f"{type(distance).__name__} is a similarity from which no distance follows; use a distance, or "
            "CosineSimilarity() with power=1, which is read as the squared distance 2 - 2 cos."
        )
