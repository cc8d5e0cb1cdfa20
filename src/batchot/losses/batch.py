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
    indices_tuple: Sequence[Tensor] | None  # (a1, p, a2, n), int64


def check_batch(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Sequence[Tensor] | None,
    ref_emb: Tensor | None,
    ref_labels: Tensor | None,
    ignore_label: int | None = None,
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
    if indices_tuple is not None:
        indices_tuple = _as_pairs(indices_tuple, embeddings.device)
    else:
        assert labels is not None
        embeddings, labels = labelled_rows(embeddings, labels, ignore_label)
        if ref_emb is not None and ref_labels is not None:
            ref_emb, ref_labels = labelled_rows(ref_emb, ref_labels, ignore_label)
    return Batch(embeddings, labels, ref_emb, ref_labels, indices_tuple)


def check_embeddings(name: str, x: Tensor, finite: bool = True) -> None:
    """Refuse embeddings that are not a finite (n, d) of at least one row, under the name that the caller knows."""
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
            raise ValueError(
                f"{name} hold NaN or infinite values in {len(bad)} of {x.shape[0]} rows: {_some(bad)}. "
                "Look at the network's input and learning rate; the loss was not computed."
            )


def check_labels(name: str, labels: Tensor, x: Tensor) -> Tensor:
    """One label a row of x, (n,) or (n, 1) made (n,), on the device of x; NaN, which equals nothing, is refused."""
    if not isinstance(labels, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(labels).__name__}.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.squeeze(1)
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (n,) or (n, 1), got {tuple(labels.shape)}.")
    if labels.shape[0] != x.shape[0]:
        raise ValueError(f"{labels.shape[0]} {name} came with {x.shape[0]} embeddings.")
    if labels.dtype in (torch.bfloat16, torch.float16):
        labels = labels.float()  # exact; NumPy has no bfloat16
    if labels.is_floating_point() and not torch.compiler.is_compiling():
        nan = labels.isnan().nonzero().squeeze(1).tolist()
        if nan:
            raise ValueError(
                f"{name} hold NaN in {len(nan)} of {len(labels)} rows: {_some(nan)}. Give samples without a class the "
                "label that is left out (ignore_label, -1 by default)."
            )
    return labels if labels.device == x.device else labels.to(x.device)


def labelled_rows(x: Tensor, labels: Tensor, ignore_label: int | None) -> tuple[Tensor, Tensor]:
    """The rows whose label is not ignore_label; all of them for None, which waits for no GPU."""
    if ignore_label is None:
        return x, labels
    kept = labels != ignore_label
    if torch.compiler.is_compiling():  # a graph has no room for a number of rows that only the labels tell
        torch._assert_async(
            kept.all(),
            f"labels hold ignore_label={ignore_label}: leave those rows out before the compiled call.",
        )
        return x, labels
    return (x, labels) if bool(kept.all()) else (x[kept], labels[kept])


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")


def _as_pairs(indices_tuple: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Pairs (a1, p, a2, n) of rows and columns, also of triplets (a, p, n), as int64 on the device."""
    if len(indices_tuple) not in (3, 4):
        raise ValueError(
            f"indices_tuple must hold 3 tensors (triplets) or 4 (pairs), got {len(indices_tuple)}."
        )
    a1, p, *rest = (each.to(device, torch.long) for each in indices_tuple)
    a2, n = (a1, rest[0]) if len(rest) == 1 else rest
    if a1.ndim != 1 or a1.shape != p.shape or a2.ndim != 1 or a2.shape != n.shape:
        raise ValueError(
            "the tensors of indices_tuple must be as long as those they are paired with, (k,) each, got "
            f"{', '.join(str(tuple(each.shape)) for each in indices_tuple)}."
        )
    return a1, p, a2, n


def paired_rows(batch: Batch) -> Batch:
    """A batch with pairs as two batches: the rows, and the columns, that a pair names; the others carry no mass."""
    assert batch.indices_tuple is not None
    a1, p, a2, n = batch.indices_tuple
    x, (a1, a2), rows = _named(batch.x, "embeddings", a1, a2)
    y, (p, n), columns = _named(batch.x if batch.y is None else batch.y, "columns of the batch", p, n)
    labels = None if batch.labels is None else batch.labels[rows]
    y_labels = batch.labels if batch.y is None else batch.y_labels
    return Batch(x, labels, y, None if y_labels is None else y_labels[columns], (a1, p, a2, n))


def _named(x: Tensor, what: str, *indices: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """The rows of x that indices name, the indices of these rows among them, and which rows they are."""
    for index in indices:
        if len(index) and not (int(index.min()) >= 0 and int(index.max()) < len(x)):
            raise ValueError(
                f"indices_tuple names {what} {int(index.min())} to {int(index.max())}, but there are {len(x)}."
            )
    used = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for index in indices:
        used[index] = True
    if bool(used.all()):
        return x, list(indices), torch.arange(len(x), device=x.device)
    number = used.cumsum(0) - 1
    return x[used], [number[index] for index in indices], used.nonzero().squeeze(1)


def positive_pairs(batch: Batch) -> Tensor:
    """bool (n, m), True where a pair is positive: as indices_tuple says, else by the labels."""
    by_label = None
    if batch.labels is not None and (batch.y is None or batch.y_labels is not None):
        other = batch.labels if batch.y_labels is None else batch.y_labels
        by_label = batch.labels.unsqueeze(1) == other.unsqueeze(0)
    if batch.indices_tuple is None:
        assert by_label is not None
        return by_label
    given = _scatter(batch, positives=True)
    if by_label is None:
        return given
    return given & (by_label | ~_scatter(batch, positives=False))


def forbidden_pairs(batch: Batch) -> Tensor | None:
    """bool (n, m), True where a pair must get no mass; None where every pair may have some."""
    if batch.indices_tuple is not None:
        return ~(_scatter(batch, positives=True) | _scatter(batch, positives=False))
    if batch.y is None:
        return torch.eye(len(batch.x), dtype=torch.bool, device=batch.x.device)
    return None


def _scatter(batch: Batch, *, positives: bool) -> Tensor:
    assert batch.indices_tuple is not None
    first, second = batch.indices_tuple[:2] if positives else batch.indices_tuple[2:]
    m = len(batch.x) if batch.y is None else len(batch.y)
    pairs = torch.zeros(len(batch.x), m, dtype=torch.bool, device=batch.x.device)
    pairs[first, second] = True
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
