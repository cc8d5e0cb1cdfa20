"""The loss by plain PyTorch and autograd, whatever the options, the type and the device: the oracle of all backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from batchot.losses.backends.rows import Scalings
from batchot.losses.problem import Problem, Rows, at_working_precision, check_misplacement
from batchot.losses.settings import BatchOTSettings
from batchot.transport import Plan, misplacement, pair_distances, sinkhorn


def general_loss(problem: Problem) -> Tensor:
    """The loss of one problem."""
    M = _checked_misplacement(problem)
    T = plan_of(M, problem).coupling
    with torch.autocast(M.device.type, enabled=False):
        return 0.5 * (T * M).sum()


def general_losses(problems: Sequence[Problem]) -> list[Tensor]:
    """The losses of problems without pairs, of which those that are alike are solved as one stack."""
    losses: dict[int, Tensor] = {}
    costs = [_checked_misplacement(problem) for problem in problems]
    alike: dict[tuple[BatchOTSettings, torch.Size, torch.dtype], list[int]] = {}
    for i, (problem, M) in enumerate(zip(problems, costs, strict=True)):
        alike.setdefault((problem.settings, M.shape, M.dtype), []).append(i)
    for group in alike.values():
        M = torch.stack([costs[i] for i in group])  # (k, n, m)
        T = _couplings(M, [problems[i] for i in group])
        with torch.autocast(M.device.type, enabled=False):
            losses.update(zip(group, 0.5 * (T * M).sum((-2, -1)), strict=True))
    return [losses[i] for i in range(len(problems))]


def _couplings(M: Tensor, problems: Sequence[Problem]) -> Tensor:
    """T of every problem of a stack, (k, n, m)."""
    settings = problems[0].settings
    if settings.plan == "uniform":
        return torch.stack([plan_of(M[k], problem).coupling for k, problem in enumerate(problems)])
    forbidden = [forbidden_pairs(problem) for problem in problems]
    mask = None
    if any(each is not None for each in forbidden):
        none = torch.zeros(M.shape[1:], dtype=torch.bool, device=M.device)
        mask = torch.stack([none if each is None else each for each in forbidden])
    return _transport(M, mask, settings).coupling


def plan_of(M: Tensor, problem: Problem) -> Plan:
    """The plan of a problem whose misplacement is M: by transport, or uniform over the allowed pairs."""
    forbidden = forbidden_pairs(problem)
    if problem.settings.plan == "uniform":
        allowed = torch.ones_like(M) if forbidden is None else (~forbidden).to(M.dtype)
        T = allowed / allowed.sum().clamp(min=1.0)
        return Plan(T, T.sum(1), T.sum(0), 0.0, 0, problem.settings.tolerance)
    return _transport(M, forbidden, problem.settings)


def _transport(M: Tensor, mask: Tensor | None, s: BatchOTSettings) -> Plan:
    with torch.autocast(M.device.type, enabled=False):
        D = torch.exp(-s.gamma * (M if s.grad == "implicit" else M.detach()))
    return sinkhorn(D, s.lam, mask=mask, max_iterations=s.max_iterations, tolerance=s.tolerance)


def general_scalings(K: np.ndarray, rows: Rows) -> Scalings:
    """By the general solver, for a problem on which float32 or the acceleration failed. K becomes the plan."""
    (n, m), s = K.shape, rows.settings
    D = torch.from_numpy(K).double().clamp(min=np.exp(-np.float64(s.lam))).log_().neg_()
    mask = torch.eye(n, dtype=torch.bool, device="cpu") if rows.itself else None
    plan = sinkhorn(D, 1.0, mask=mask, max_iterations=s.max_iterations, tolerance=s.tolerance)
    K[:] = plan.coupling.float().numpy()
    return Scalings(np.ones(n, np.float32), np.ones(m, np.float32), float(plan.marginal_error))


def misplacement_of(problem: Problem) -> Tensor:
    """M (n, m), differentiable with respect to the embeddings; float32 or better whatever autocast says."""
    s, distance = problem.settings, problem.distance
    with torch.autocast(problem.x.device.type, enabled=False):
        normalize = s.normalize and distance is None
        x = at_working_precision(problem.x, normalize)
        y = None if problem.y is None else at_working_precision(problem.y, normalize)
        if distance is None:
            delta = pair_distances(x, y, power=s.distance_power)
        else:
            delta = distance(x, x if y is None else y)
            if getattr(distance, "is_inverted", False):
                delta = 2.0 - 2.0 * delta  # cosine similarity to squared distance; see check_distance
        positive = positive_pairs(problem)
        return misplacement(delta, positive, margin=s.margin, pos_margin=s.pos_margin, power=s.power)


def _checked_misplacement(problem: Problem) -> Tensor:
    """M, which has no second derivative where the plan is held fixed."""
    s = problem.settings
    if s.grad == "detach" and s.plan == "transport":
        y = None if problem.y is None else _OnceDifferentiable.apply(problem.y)
        problem = replace(problem, x=_OnceDifferentiable.apply(problem.x), y=y)
    M = misplacement_of(problem)
    check_misplacement(M, problem.x)
    return M


def positive_pairs(problem: Problem) -> Tensor:
    """bool (n, m), True where a pair is positive: as the pairs say, else by the labels."""
    by_label = None
    if problem.labels is not None and (problem.y is None or problem.y_labels is not None):
        other = problem.labels if problem.y_labels is None else problem.y_labels
        by_label = problem.labels.unsqueeze(1) == other.unsqueeze(0)
    if problem.pairs is None:
        assert by_label is not None
        return by_label
    given = _scatter(problem, positives=True)
    if by_label is None:
        return given
    return given & (by_label | ~_scatter(problem, positives=False))


def forbidden_pairs(problem: Problem) -> Tensor | None:
    """bool (n, m), True where a pair must get no mass; None where every pair may have some."""
    if problem.pairs is not None:
        return ~(_scatter(problem, positives=True) | _scatter(problem, positives=False))
    if problem.y is None:
        return torch.eye(len(problem.x), dtype=torch.bool, device=problem.x.device)
    return None


def _scatter(problem: Problem, *, positives: bool) -> Tensor:
    assert problem.pairs is not None
    first, second = problem.pairs[:2] if positives else problem.pairs[2:]
    pairs = torch.zeros(len(problem.x), len(problem.columns), dtype=torch.bool, device=problem.x.device)
    pairs[first, second] = True
    return pairs


class _Once(torch.autograd.Function):
    """A derivative that follows from inputs in a way that cannot be differentiated again."""

    @staticmethod
    def forward(derivative: Tensor, *inputs: Tensor | None) -> Tensor:
        return derivative.view_as(derivative)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            "the loss can be differentiated once: its gradient holds the transport plan fixed, so that a derivative "
            "of it would be wrong. Compute the gradient without create_graph, or give plan='uniform' in float64, "
            "whose plan is fixed indeed."
        )

    jvp = backward

    @staticmethod
    def vmap(*_: Any) -> Any:
        refuse_vmap()


def refuse_vmap() -> None:
    """Say that a batch of losses is for a loop."""
    raise RuntimeError(
        "torch.vmap cannot batch the loss (nor a Hessian of it): call it for each batch in a loop."
    )


def once(derivative: Tensor, *inputs: Tensor | None) -> Tensor:
    """The derivative with respect to inputs, for which it is an error, and not 0, to be differentiated again."""
    if not torch.is_grad_enabled() and forward_ad._current_level < 0:  # an ordinary backward pass: nobody can
        return derivative
    marked: Tensor = _Once.apply(derivative, *inputs)
    return marked


def scaled(
    grad: Tensor, x: Tensor, y: Tensor | None, grad_x: Tensor, grad_y: Tensor | None, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """What the backward pass makes of the gradient that is there already."""
    return (
        (grad * once(grad_x, x, y)).to(x.dtype) if needed[0] else None,
        (grad * once(grad_y, x, y)).to(y.dtype)
        if needed[1] and y is not None and grad_y is not None
        else None,
    )


def wants_gradient(x: Tensor, y: Tensor | None) -> bool:
    """Whether autograd will ask for the gradient of one of the batches."""
    return torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad))


def keep_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Of an operator on x, y and options, whose last two outputs are the gradients: what its backward pass needs."""
    ctx.save_for_backward(*inputs[:2], *(each.detach() for each in output[-2:]))


def pull_kept(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    """The backward pass of such an operator."""
    needed = ctx.needs_input_grad
    x, y, grad_x, grad_y = ctx.saved_tensors
    return (*scaled(grad, x, y, grad_x, grad_y, needed), *[None] * (len(needed) - 2))


class _OnceDifferentiable(torch.autograd.Function):
    """x itself, so that what is computed of it by autograd can be differentiated once."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return once(grads[0], *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return once(tangents[0], *ctx.saved_tensors)

    @staticmethod
    def vmap(*_: Any) -> Any:
        refuse_vmap()


for function in (_Once, _OnceDifferentiable):  # as in `batchot.losses.solve`: asked for in every call
    function.forward.__signature__ = signature(function.forward)  # type: ignore[union-attr]
