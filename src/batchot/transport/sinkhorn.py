"""Sinkhorn's iteration: from a cost matrix to the entropic transport plan."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from batchot.transport.log_domain import solve_in_log_domain


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan T between n and m points, or a stack of them.

    T minimises <T, D> - h(T) / lam over T >= 0 with row sums a and column sums b. Every property is computed
    when it is first asked for; for a stack of problems each is a tensor with one value a problem.

    Example:
        >>> import torch
        >>> from batchot import sinkhorn
        >>> plan = sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), lam=10.0)
        >>> plan.coupling.round(decimals=3).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
        >>> plan.converged
        True
    """

    coupling: Tensor  # T, (..., n, m)
    a: Tensor  # row sums asked for, (..., n)
    b: Tensor  # column sums asked for, (..., m)
    lam: float  # weight of the cost against the entropy
    iterations: int  # steps of the solver, of all its phases together
    tolerance: float  # marginal error at which the solver was allowed to stop, as a share of the total mass

    @cached_property
    def marginal_error(self) -> Tensor:
        """``sum_i |sum_j T_ij - a_i| + sum_j |sum_i T_ij - b_j|``, summed in float64."""
        T = self.coupling.detach()
        rows = (T.sum(-1, dtype=torch.float64) - self.a).abs().sum(-1)
        columns = (T.sum(-2, dtype=torch.float64) - self.b).abs().sum(-1)
        return rows + columns

    @property
    def converged(self) -> bool:
        """Whether the marginal error of every problem of the stack is within the tolerance of its total mass."""
        return bool((self.marginal_error <= self.tolerance * self.a.sum(-1)).all())

    @cached_property
    def entropy(self) -> Tensor:
        """h(T) = -sum_ij T_ij log T_ij, in nats."""
        return torch.special.entr(self.coupling.detach()).sum((-2, -1), dtype=torch.float64)

    @cached_property
    def effective_pairs(self) -> Tensor:
        """exp(h(T)): n m for the uniform plan, n for a permutation of n points."""
        return self.entropy.exp()

    def transport_cost(self, D: Tensor) -> Tensor:
        """<T, D> for the ground distance D, (..., n, m)."""
        return (self.coupling * D).sum((-2, -1))


MAX_LAM = 10_000.0
# Beyond this lam * range the scalings leave the range in which products with the kernel keep their precision.
_MAX_EXPONENT = 40.0
# A slowly converging problem leaves the kernel domain after so many steps: Newton's method then needs fewer.
_KERNEL_STEPS = 200
# Where more than a diagonal is forbidden the iteration may crawl, where few pairs are left it does: a small problem
# goes to Newton's method early.
_MASKED_STEPS, _SPARSE_STEPS, _MASKED_SIZE = 50, 8, 256


class SinkhornWarning(UserWarning):
    """The marginals of a plan are not within the tolerance that was asked for."""


def sinkhorn(
    cost: Tensor,
    lam: float,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Plan:
    r"""Entropic optimal transport plan by Sinkhorn's iteration (Cuturi 2013).

    .. math::
        T^* = \arg\min_{T \ge 0,\ T 1 = a,\ T^\top 1 = b} \langle T, D \rangle - \tfrac{1}{\lambda} h(T)
            = \mathrm{diag}(u)\, e^{-\lambda D}\, \mathrm{diag}(v)

    The iteration stops when the marginals are right. Where the kernel exp(-lam D) would underflow or the
    iteration is slow, the problem is solved in the log domain in float64: lam is raised in steps, and Newton's
    method on the dual finishes what Sinkhorn's iteration began. Marginals for which the mask leaves no room are
    recognised by rows whose mass exceeds that of all columns that they may reach; no plan has them, and the one
    returned after a warning is as near as the solver had come.

    Args:
        cost: D, (n, m), or a stack of problems (..., n, m); any floating type, solved in float64.
        lam: weight of the cost against the entropy, 0 to 10,000. 0 gives the independent plan a b^T, a large
            value approaches the unregularised optimum (an assignment where n = m). ``ot.sinkhorn`` of POT
            calls 1/lam ``reg``.
        a: row sums, (n,) or (..., n), non-negative, of any total, which is that of b; 1/n each when None.
        b: column sums, (m,) or (..., m); 1/m each when None.
        mask: bool, (n, m) or (..., n, m), True where a pair must get no mass. When a (or b) is None, it is the row
            (or column) sums of the uniform plan over the allowed pairs, so that a plan exists.
        max_iterations: steps after which the solver gives up, warns and returns what it has.
        tolerance: sum of the absolute errors of all marginals at which the solver stops, as a share of their total.

    Returns:
        A :class:`Plan`. Its coupling is differentiable with respect to the cost (implicit function theorem)
        when the cost requires a gradient; it has the cost's type, float32 for half types.

    Raises:
        ValueError: a shape, type, value or range is wrong; the message says which.

    Example:
        >>> import torch
        >>> cost = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.2, 0.4]])
        >>> plan = sinkhorn(cost, lam=5.0)
        >>> [round(x, 4) for x in plan.coupling.sum(1).tolist()]
        [0.5, 0.5]
        >>> bool((plan.coupling[0, 0] > plan.coupling[0, 1]))
        True
    """
    _check(cost, lam, mask, max_iterations, tolerance)
    D = cost.detach()
    dtype = D.dtype if D.dtype == torch.float64 else torch.float32
    with torch.no_grad(), torch.autocast(D.device.type, enabled=False):
        allowed = None if mask is None else (~mask).expand(D.shape)
        a64 = _marginal(a, D, allowed, -1, "a")
        b64 = _marginal(b, D, allowed, -2, "b")
        if a is None and b is None:
            # These marginals have a plan whatever the mask.
            T, iterations, _ = _solve(D, float(lam), a64, b64, allowed, max_iterations, tolerance, False)
            lacking = 0.0
        else:
            total, total_b = a64.sum(-1, keepdim=True), b64.sum(-1, keepdim=True)
            if not torch.allclose(total, total_b, rtol=1e-5, atol=0.0):
                raise ValueError(
                    f"a and b must have the same total, got {total.squeeze(-1).tolist()} and "
                    f"{total_b.squeeze(-1).tolist()}: divide each by its sum."
                )
            tiny = torch.finfo(torch.float64).tiny
            share_a, share_b = a64 / total.clamp(min=tiny), b64 / total_b.clamp(min=tiny)
            T, iterations, lacking = _solve(
                D, float(lam), share_a, share_b, allowed, max_iterations, tolerance
            )
            T = T * total.unsqueeze(-1)
            b64 = share_b * total
    coupling = T.to(dtype)
    if cost.requires_grad and torch.is_grad_enabled():
        coupling = _ImplicitCoupling.apply(cost, coupling, float(lam))
    plan = Plan(coupling, a64, b64, float(lam), iterations, tolerance)
    if not plan.converged:
        if lacking > 0.0:
            advice = (
                f"No plan has these marginals: the mask leaves room for all but {lacking:.2g} of the mass. Change a "
                "and b, or leave them out for those of the uniform plan over the allowed pairs."
            )
        elif iterations < max_iterations and dtype == torch.float32:
            advice = "That is the rounding of float32: raise tolerance, or give the cost in float64."
        else:
            advice = "Raise max_iterations or tolerance, or lower lam."
        warnings.warn(
            f"Sinkhorn stopped after {iterations} iterations at a marginal error of "
            f"{float(plan.marginal_error.max()):.1e}, above tolerance={tolerance:.1e} (lam={lam:g}, shape "
            f"{tuple(cost.shape)}). {advice}",
            SinkhornWarning,
            stacklevel=2,
        )
    return plan


def _solve(
    D: Tensor,
    lam: float,
    a: Tensor,
    b: Tensor,
    allowed: Tensor | None,
    max_iterations: int,
    tolerance: float,
    doubtful: bool = True,
) -> tuple[Tensor, int, float]:
    """T in float64, the number of steps and the mass for which the mask leaves no room, for marginals that sum to 1."""
    if lam == 0.0 and allowed is None:
        return a.unsqueeze(-1) * b.unsqueeze(-2), 0, 0.0
    forbidden_cost = float("inf")
    reachable = D if allowed is None else D.masked_fill(~allowed, forbidden_cost)
    floor = reachable.amin((-2, -1), keepdim=True).to(torch.float64)
    floor = floor.masked_fill(floor.isinf(), 0.0)
    ceiling = (D if allowed is None else D.masked_fill(~allowed, -forbidden_cost)).amax(
        (-2, -1), keepdim=True
    )
    exponent = lam * float((ceiling - floor).amax().clamp(min=0.0))
    if exponent <= _MAX_EXPONENT:
        # In float64: groups of points that hardly exchange mass amplify the rounding of float32 sums beyond any
        # useful tolerance.
        K = ((D.to(torch.float64) - floor) * -lam).exp()
        if allowed is not None:
            K = K.masked_fill(~allowed, 0.0)
        most = _KERNEL_STEPS
        if allowed is not None and min(D.shape[-2:]) <= _MASKED_SIZE:
            n, m = D.shape[-2:]
            pairs = float(allowed.sum()) / allowed[..., 0, 0].numel()
            if pairs < max(n + m, n * m // 4):
                most = _SPARSE_STEPS
            elif pairs <= n * m - 2 * max(n, m):
                most = _MASKED_STEPS
        T, steps, error, u = _kernel_domain(K, a, b, min(max_iterations, most), tolerance)
        if bool((error <= tolerance).all()) or steps >= max_iterations:
            return T, steps, 0.0
        done, start = steps, u.log()
    else:
        done, start = 0, None
    C = D.to(torch.float64) - floor
    flat = C.reshape(-1, *C.shape[-2:])
    open_pairs = None if allowed is None else allowed.reshape(flat.shape)
    solved, most, lacking = [], 0, 0.0
    for k in range(flat.shape[0]):  # problems of a stack need different numbers of steps
        T, steps, short = solve_in_log_domain(
            flat[k],
            lam,
            a.reshape(-1, a.shape[-1])[k],
            b.reshape(-1, b.shape[-1])[k],
            None if open_pairs is None else open_pairs[k],
            max_iterations - done,
            tolerance,
            None if start is None else start.reshape(-1, a.shape[-1])[k],
            doubtful,
        )
        solved.append(T)
        most, lacking = max(most, steps), max(lacking, short)
    return torch.stack(solved).reshape(C.shape), done + most, lacking


def _kernel_domain(
    K: Tensor, a: Tensor, b: Tensor, max_iterations: int, tolerance: float
) -> tuple[Tensor, int, Tensor, Tensor]:
    """Sinkhorn's iteration on the kernel: T, steps taken, the row error left (columns are exact), and u."""
    columns = K.transpose(-2, -1)
    r = K.sum(-1)
    ratio = torch.div if bool((r > 0).all() and (K.sum(-2) > 0).all()) else _ratio
    step = 0
    while True:
        step += 1
        u = ratio(a, r)
        v = ratio(b, torch.matmul(columns, u.unsqueeze(-1)).squeeze(-1))
        r = torch.matmul(K, v.unsqueeze(-1)).squeeze(-1)
        error = (u * r - a).abs().sum(-1)
        # Half the tolerance is kept for the rounding of T itself.
        if step >= max_iterations or float(error.amax()) <= 0.5 * tolerance:
            break
    return u.unsqueeze(-1) * K * v.unsqueeze(-2), step, error, u


def _ratio(mass: Tensor, reach: Tensor) -> Tensor:
    """mass / reach, and 0 where nothing can be reached (a row or column without an allowed pair)."""
    return torch.where(reach > 0, mass / reach, torch.zeros((), dtype=mass.dtype, device=mass.device))


def _marginal(given: Tensor | None, D: Tensor, allowed: Tensor | None, dim: int, name: str) -> Tensor:
    """The marginal in float64, (..., n): as given, or that of the uniform plan over the allowed pairs."""
    size = D.shape[-2] if dim == -1 else D.shape[-1]
    shape = (*D.shape[:-2], size)
    if given is None:
        if allowed is None:
            return D.new_full(shape, 1.0 / max(size, 1), dtype=torch.float64)
        pairs = allowed.sum(dim, dtype=torch.float64)
        return pairs / pairs.sum(-1, keepdim=True).clamp(min=1.0)
    if not isinstance(given, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(given).__name__}.")
    if given.shape[-1:] != (size,) or given.ndim > len(shape):
        raise ValueError(f"{name} must have shape {shape} or ({size},), got {tuple(given.shape)}.")
    mass = given.detach().to(D.device, torch.float64).expand(shape)
    if not bool(torch.isfinite(mass).all()) or bool((mass < 0).any()):
        raise ValueError(f"{name} must be finite and non-negative; it holds {float(mass.min()):g}.")
    return mass


def _check(cost: Tensor, lam: float, mask: Tensor | None, max_iterations: int, tolerance: float) -> None:
    if not isinstance(cost, Tensor) or not cost.is_floating_point():
        raise ValueError(
            f"cost must be a floating point tensor, got {getattr(cost, 'dtype', type(cost).__name__)}."
        )
    if cost.ndim < 2:
        raise ValueError(f"cost must have shape (n, m) or (..., n, m), got {tuple(cost.shape)}.")
    if cost.numel() == 0:
        raise ValueError(f"cost is empty, shape {tuple(cost.shape)}.")
    if not 0.0 <= lam <= MAX_LAM:  # also refuses NaN
        raise ValueError(f"lam must be between 0 and {MAX_LAM:g}, got {lam}.")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}.")
    if not tolerance > 0.0:
        raise ValueError(f"tolerance must be positive, got {tolerance}.")
    if mask is not None:
        if mask.dtype != torch.bool:
            raise ValueError(f"mask must be a bool tensor (True: no mass), got {mask.dtype}.")
        if mask.ndim > cost.ndim or mask.shape[-2:] != cost.shape[-2:]:
            raise ValueError(f"mask must have the cost's shape {tuple(cost.shape)}, got {tuple(mask.shape)}.")
    finite = torch.isfinite(cost.detach())
    if mask is not None:
        finite = finite | mask
    if not bool(finite.all()):
        where = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"cost is NaN or infinite at index {where}; use mask for pairs that must get no mass."
        )


class _ImplicitCoupling(torch.autograd.Function):
    """T(D): the coupling that was found, with the derivative that the optimality conditions give it."""

    @staticmethod
    def forward(ctx: Any, D: Tensor, T: Tensor, lam: float) -> Tensor:
        ctx.save_for_backward(T)
        ctx.lam = lam
        ctx.dtype = D.dtype
        return T.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor, None, None]:
        (T,) = ctx.saved_tensors
        with torch.autocast(T.device.type, enabled=False):
            T64, G64 = T.to(torch.float64), G.to(torch.float64)
            swap = T.shape[-2] > T.shape[-1]  # the system has the size of the rows: take the shorter side
            if swap:
                T64, G64 = T64.transpose(-2, -1), G64.transpose(-2, -1)
            p, q = _adjoint(T64, G64)
            grad = -ctx.lam * T64 * (G64 - p.unsqueeze(-1) - q.unsqueeze(-2))
            if swap:
                grad = grad.transpose(-2, -1)
        return grad.to(ctx.dtype), None, None


def _adjoint(T: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
    """(p, q) of the optimality conditions, by Cholesky on the Schur complement of the columns."""
    W = G * T
    r, c = T.sum(-1), T.sum(-2)
    inverse_c = torch.where(c > 0, 1.0 / c, torch.zeros_like(c))
    rhs = W.sum(-1) - (T @ (W.sum(-2) * inverse_c).unsqueeze(-1)).squeeze(-1)
    n = r.shape[-1]
    scale = r.mean(-1).clamp(min=torch.finfo(r.dtype).tiny)[..., None, None]
    eye = torch.eye(n, dtype=T.dtype, device=T.device)
    # Singular along (1, .., 1) (T is unchanged by alpha + t, beta - t), hence + scale; along rows without mass and
    # between groups that exchange none, hence the ridge. The right side has no part there.
    S = (
        torch.diag_embed(r)
        - (T * inverse_c.unsqueeze(-2)) @ T.transpose(-2, -1)
        + scale
        + 1e-12 * scale * eye
    )
    p = torch.linalg.solve(S, rhs.unsqueeze(-1)).squeeze(-1)
    q = (W.sum(-2) - (T.transpose(-2, -1) @ p.unsqueeze(-1)).squeeze(-1)) * inverse_c
    return p, q
