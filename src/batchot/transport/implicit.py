"""The derivative of a transport plan with respect to its cost, by the implicit function theorem."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


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


def differentiable_coupling(D: Tensor, T: Tensor, lam: float) -> Tensor:
    """T with its derivative with respect to D attached."""
    coupling: Tensor = _ImplicitCoupling.apply(D, T, lam)
    return coupling
