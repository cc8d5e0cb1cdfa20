"""Entropic transport where the kernel underflows: annealing, and Newton's method on the semi-dual.

With beta eliminated (columns exact), the dual is the smooth convex function of alpha

    F(alpha) = sum_j b_j log sum_i exp(alpha_i - lam C_ij) - sum_i a_i alpha_i,

whose gradient is r - a (the row error of the plan) and whose Hessian is diag(r) - T diag(1/b) T^T. See Peyré and
Cuturi, Computational Optimal Transport (2019), section 4.5, and Brauer, Clason, Lorenz and Wirth (2017) for Newton.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FIRST_EXPONENT = 20.0  # lam * range at which annealing starts: Sinkhorn's iteration is quick there
_ANNEALING = 4.0  # factor from one lam to the next
_STAGE_TOLERANCE = 1e-2  # marginal error at which annealing goes on to the next lam
_SINKHORN_STEPS = 20  # a stage starts with so many, which Newton's method needs to be near enough
_NEWTON_SIZE = 2048  # a Newton step solves a system of this size at most


def solve_in_log_domain(
    C: Tensor,
    lam: float,
    a: Tensor,
    b: Tensor,
    allowed: Tensor | None,
    max_iterations: int,
    tolerance: float,
) -> tuple[Tensor, int]:
    """T (n, m) in float64 for one problem with cost C >= 0, and the number of steps taken."""
    T = C.new_zeros(C.shape)
    i, j = (a > 0).nonzero().squeeze(1), (b > 0).nonzero().squeeze(1)
    if i.numel() == 0 or j.numel() == 0:
        return T, 0
    C, a, b = C[i][:, j], a[i], b[j]
    if allowed is not None:
        C = C.masked_fill(~allowed[i][:, j], float("inf"))
    if C.shape[0] > C.shape[1]:  # the system to solve has the size of the rows: take the shorter side
        part, steps = _anneal(C.T.contiguous(), lam, b, a, max_iterations, tolerance)
        part = part.T
    else:
        part, steps = _anneal(C, lam, a, b, max_iterations, tolerance)
    T[i.unsqueeze(1), j] = part
    return T, steps


def _anneal(
    C: Tensor, lam: float, a: Tensor, b: Tensor, max_iterations: int, tolerance: float
) -> tuple[Tensor, int]:
    finite = C[torch.isfinite(C)]
    if finite.numel() == 0:
        return torch.zeros_like(C), 0
    spread = float(finite.max())
    stage = min(lam, _FIRST_EXPONENT / spread) if spread > 0 else lam
    alpha = torch.zeros_like(a)
    steps = 0
    while True:
        last = stage >= lam
        goal = 0.5 * tolerance if last else _STAGE_TOLERANCE
        alpha, T, used = _solve_stage(-stage * C, a, b, alpha, goal, max_iterations - steps)
        steps += used
        if last or steps >= max_iterations:
            break
        following = min(lam, stage * _ANNEALING)
        alpha = alpha * (following / stage)  # potentials are alpha / lam: they change little between stages
        stage = following
    if not last:  # out of steps: the marginals of the true lam, as far as one half-step makes them right
        _, T, _, _ = _evaluate(-lam * C, a, b, alpha * (lam / stage))
    return T, steps


def _evaluate(S: Tensor, a: Tensor, b: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """F(alpha), the plan with exact columns, its row sums and its row error, for S = -lam C."""
    scores = alpha.unsqueeze(1) + S  # (n, m)
    lse = scores.logsumexp(0)
    reachable = torch.isfinite(lse)  # a column all of whose pairs are forbidden keeps no mass
    beta = torch.where(reachable, b.log() - lse, torch.zeros_like(lse))
    T = (scores + beta).exp()
    F = (b * torch.where(reachable, lse, torch.zeros_like(lse))).sum() - (a * alpha).sum()
    r = T.sum(1)
    return F, T, r, float((r - a).abs().sum())


def _solve_stage(
    S: Tensor, a: Tensor, b: Tensor, alpha: Tensor, goal: float, max_iterations: int
) -> tuple[Tensor, Tensor, int]:
    """Sinkhorn's iteration, then Newton steps; a Newton step that does not help is a Sinkhorn step instead."""
    F, T, r, error = _evaluate(S, a, b, alpha)
    best_alpha, best_T, best_error = alpha, T, error
    steps = 0
    newton = S.shape[0] <= _NEWTON_SIZE
    while error > goal and steps < max_iterations:
        steps += 1
        moved = None
        if newton and steps > _SINKHORN_STEPS:
            moved = _newton_step(S, a, b, alpha, F, T, r, error)
        if moved is None:
            # log r is -inf for a row whose pairs have all underflowed: the smallest normal number stands in.
            alpha = alpha + a.log() - r.clamp(min=torch.finfo(r.dtype).tiny).log()
            alpha = alpha - alpha.mean()
            F, T, r, error = _evaluate(S, a, b, alpha)
        else:
            alpha, F, T, r, error = moved
        if error < best_error:
            best_alpha, best_T, best_error = alpha, T, error
    return best_alpha, best_T, steps


def _newton_step(
    S: Tensor, a: Tensor, b: Tensor, alpha: Tensor, F: Tensor, T: Tensor, r: Tensor, error: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, float] | None:
    """A damped Newton step, or None when no length of it lowers the dual or the error."""
    H = torch.diag(r) - (T / b) @ T.T
    # H is singular along (1, .., 1), and nearly so between groups that hardly exchange mass: the ridge keeps the
    # step finite there without slowing it elsewhere.
    scale = r.mean()
    ridge = 1e-13 * scale
    for _ in range(8):
        L, info = torch.linalg.cholesky_ex(
            H + ridge * torch.eye(len(a), dtype=H.dtype, device=H.device) + scale
        )
        if int(info) == 0:
            break
        ridge = ridge * 100.0
    else:
        return None
    step = torch.cholesky_solve((r - a).unsqueeze(1), L).squeeze(1)
    slope = float(((r - a) * step).sum())
    length = 1.0
    for _ in range(12):
        tried = alpha - length * step
        new_F, new_T, new_r, new_error = _evaluate(S, a, b, tried)
        if new_error < 0.9 * error or float(F - new_F) > 0.1 * length * slope > 0.0:
            return tried - tried.mean(), new_F, new_T, new_r, new_error
        length *= 0.5
    return None
