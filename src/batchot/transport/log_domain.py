"""Entropic transport where the kernel underflows or Sinkhorn crawls: annealing, and Newton on the semi-dual.

With beta eliminated (columns exact), the dual is the smooth convex function of alpha

    F(alpha) = sum_j b_j log sum_i exp(alpha_i - lam C_ij) - sum_i a_i alpha_i,

whose gradient is r - a (the row error of the plan) and whose Hessian is diag(r) - T diag(1/b) T^T, the Laplacian of a
graph of the rows. F has no minimum where the mask leaves no room for the marginals: alpha then grows without bound on
rows whose mass exceeds that of the columns they reach, which proves it. See Peyré and Cuturi, Computational Optimal
Transport (2019), section 4.5, and Brauer, Clason, Lorenz and Wirth (2017) for Newton.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FIRST_EXPONENT = 20.0  # lam * range at which annealing starts: Sinkhorn's iteration is quick there
_ANNEALING = 4.0  # factor from one lam to the next
_STAGE_TOLERANCE = 1e-5  # marginal error at which annealing goes on to the next lam
_SINKHORN_STEPS = 20  # the first stage starts with so many, which Newton's method needs to be near enough
_NEWTON_SIZE = 2048  # a Newton step solves a system of this size at most
_FAR = 10.0  # factor between a row's mass and what it should have, from which Sinkhorn's step is the longer
_LONGEST_STEP = 20.0  # in alpha, as a first try: Newton's is endless between groups that exchange nothing yet
_TRIES = 50  # lengths of a Newton step
_PATIENCE = 50  # steps without a smaller error after which rounding is taken for the reason


def solve_in_log_domain(
    C: Tensor,
    lam: float,
    a: Tensor,
    b: Tensor,
    allowed: Tensor | None,
    max_iterations: int,
    tolerance: float,
    alpha: Tensor | None = None,
    doubtful: bool = True,
) -> tuple[Tensor, int, float]:
    """T (n, m) in float64 for one problem with cost C >= 0 and marginals that sum to 1, and the steps taken."""
    if allowed is not None:
        C = C.masked_fill(~allowed, float("inf"))
    i, j = (a > 0).nonzero().squeeze(1), (b > 0).nonzero().squeeze(1)
    if len(i) < len(a) or len(j) < len(b):  # rows and columns without mass take no part
        T = C.new_zeros(C.shape)
        if len(i) == 0 or len(j) == 0:
            return T, 0, 0.0
        part, steps, lacking = solve_in_log_domain(
            C[i][:, j],
            lam,
            a[i],
            b[j],
            None,
            max_iterations,
            tolerance,
            None if alpha is None else alpha[i],
            doubtful,
        )
        T[i.unsqueeze(1), j] = part
        return T, steps, lacking
    if alpha is not None and not bool(torch.isfinite(alpha).all()):
        alpha = None
    if C.shape[0] > C.shape[1]:  # the system to solve has the size of the rows: take the shorter side
        if alpha is not None:
            alpha = (b.log() - (alpha.unsqueeze(1) + _scores(C, lam)).logsumexp(0)).nan_to_num(posinf=0.0)
        T, steps, lacking = _anneal(C.T.contiguous(), lam, b, a, max_iterations, tolerance, alpha, doubtful)
        return T.T, steps, lacking
    return _anneal(C, lam, a, b, max_iterations, tolerance, alpha, doubtful)


def _anneal(
    C: Tensor,
    lam: float,
    a: Tensor,
    b: Tensor,
    max_iterations: int,
    tolerance: float,
    alpha: Tensor | None,
    doubtful: bool,
) -> tuple[Tensor, int, float]:
    reach = torch.isfinite(C)
    spread = float(C.masked_fill(~reach, 0.0).max())
    stage = lam if alpha is not None or spread == 0.0 else min(lam, _FIRST_EXPONENT / spread)
    warm = alpha is not None
    alpha = torch.zeros_like(a) if alpha is None else alpha
    before: tuple[float, Tensor] | None = None
    masked = reach if doubtful and not bool(reach.all()) else None
    steps = 0
    while True:
        last = stage >= lam
        goal = 0.5 * tolerance if last else max(0.5 * tolerance, _STAGE_TOLERANCE)
        sinkhorn_steps = _SINKHORN_STEPS if before is None and not warm else 0
        solved, T, used, lacking = _solve_stage(
            _scores(C, stage), a, b, alpha, goal, max_iterations - steps, sinkhorn_steps, masked, tolerance
        )
        steps += used
        if last or steps >= max_iterations or lacking > 0.0:
            break
        following = min(lam, stage * _ANNEALING)
        # For large lam T hardly changes any more, so that alpha grows linearly with lam.
        slope = solved / stage if before is None else (solved - before[1]) / (stage - before[0])
        before = (stage, solved)
        alpha = solved + (following - stage) * slope
        stage = following
    if not last:  # out of steps: the marginals of the true lam, as far as one half-step makes them right
        _, T, _, _ = _evaluate(_scores(C, lam), a, b, solved * (lam / stage))
    return T, steps, lacking


def _scores(C: Tensor, lam: float) -> Tensor:
    """S = -lam C, -inf where C is infinite also for lam = 0."""
    return torch.where(torch.isfinite(C), -lam * C, -C)


def _evaluate(S: Tensor, a: Tensor, b: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """alpha, the plan with exact columns, its row sums and its row error, for S = -lam C."""
    scores = alpha.unsqueeze(1) + S  # (n, m)
    top = scores.amax(0).clamp_(min=-1e300)  # a column all of whose pairs are forbidden keeps no mass
    T = scores.sub_(top).exp_()
    T *= b / T.sum(0).clamp(min=torch.finfo(T.dtype).tiny)
    r = T.sum(1)
    return alpha, T, r, float((r - a).abs().sum())


def _solve_stage(
    S: Tensor,
    a: Tensor,
    b: Tensor,
    alpha: Tensor,
    goal: float,
    max_iterations: int,
    sinkhorn_steps: int,
    reach: Tensor | None,
    tolerance: float,
) -> tuple[Tensor, Tensor, int, float]:
    """Sinkhorn's iteration, then Newton steps; a Newton step that does not help is a Sinkhorn step instead."""
    point = best = _evaluate(S, a, b, alpha)
    steps = best_step = 0
    turn = False
    newton = S.shape[0] <= _NEWTON_SIZE
    while point[3] > goal and steps < max_iterations and steps - best_step < _PATIENCE:
        if reach is not None:
            lacking = _lacking(reach, a, b, point[0])
            if lacking > max(0.25 * tolerance, 1e-12):
                return best[0], best[1], steps, lacking
        steps += 1
        alpha, _, r, _ = point
        moved = None
        if newton and steps > sinkhorn_steps:
            share = r / a
            if turn or float(share.min()) * _FAR > 1.0 > float(share.max()) / _FAR:
                moved = _newton_step(S, a, b, point)
        turn = moved is None  # where rows are far off, the two take turns
        if moved is None:
            alpha = _sinkhorn_step(S, a, b, alpha)
            moved = _evaluate(S, a, b, alpha - alpha.mean())
        point = moved
        if point[3] < best[3]:
            if point[3] < 0.9 * best[3]:
                best_step = steps
            best = point
    return best[0], best[1], steps, 0.0


def _sinkhorn_step(S: Tensor, a: Tensor, b: Tensor, alpha: Tensor) -> Tensor:
    """alpha with which rows are exact, for the beta of the one given; without T, whose row may underflow."""
    beta = b.log() - (alpha.unsqueeze(1) + S).logsumexp(0)
    beta = beta.masked_fill(beta == float("inf"), float("-inf"))  # a column all of whose pairs are forbidden
    moved = a.log() - (S + beta).logsumexp(1)
    return torch.where(torch.isfinite(moved), moved, alpha)


def _lacking(reach: Tensor, a: Tensor, b: Tensor, alpha: Tensor) -> float:
    """Mass of the rows of largest alpha, as many as make it largest, beyond that of all columns that they reach."""
    order = alpha.masked_fill(~reach.any(1), float("inf")).argsort(descending=True)
    n = len(a)
    rank = torch.arange(1, n + 1, device=a.device).unsqueeze(1)
    first = torch.where(reach[order], rank, n + 1).amin(0)  # (m,), how many rows it takes to reach the column
    reached = a.new_zeros(n + 2).index_add_(0, first, b)[1:-1].cumsum(0)
    return float((a[order].cumsum(0) - reached).max())


def _newton_step(
    S: Tensor, a: Tensor, b: Tensor, point: tuple[Tensor, Tensor, Tensor, float]
) -> tuple[Tensor, Tensor, Tensor, float] | None:
    """A Newton step of a length that lowers the dual or the error, or None when there is none."""
    alpha, T, r, error = point
    H = (T / b) @ -T.T  # minus what rows exchange through columns
    H.fill_diagonal_(0.0)
    # The sum of the others is the diagonal without the cancellation of r_i - W_ii.
    H.diagonal().sub_(H.sum(1))
    # Scaled to a diagonal of about 1; nothing can be said of rows that have underflowed.
    scale = torch.where(r > 1e-200, r.rsqrt(), 0.0)
    H *= torch.outer(scale, scale)
    # H is singular along sqrt(r), hence the outer product, and nearly so between groups that hardly exchange mass: the
    # ridge keeps the step finite there without slowing it elsewhere.
    root = r.sqrt()
    H.addr_(root, root, alpha=1.0 / float(r.sum()))
    ridge = 1e-14
    for _ in range(8):
        H.diagonal().add_(ridge)
        L, info = torch.linalg.cholesky_ex(H)
        if int(info) == 0:
            break
        ridge *= 100.0
    else:
        return None
    residual = r - a
    step = torch.cholesky_solve((residual * scale).unsqueeze(1), L).squeeze(1) * scale
    slope = float(residual @ step)
    longest = float(step.abs().max())
    if not slope > 0.0 or longest == 0.0:
        return None
    # F is convex, and so the slope along the step grows: while it is negative, F falls.
    length = min(1.0, _LONGEST_STEP / longest)
    low, high, kept = 0.0, float("inf"), None
    for _ in range(_TRIES):
        tried = alpha - length * step
        found = _evaluate(S, a, b, tried)
        rest = float((found[2] - a) @ step)
        if found[3] < 0.5 * error:
            return found
        if rest >= 0.0:
            low, kept = length, found
            if rest < 0.5 * slope:
                return kept
        else:
            high = length
        length = 2.0 * low if high == float("inf") else 0.5 * (low + high)
        if length >= 1e6:
            break
    return kept
