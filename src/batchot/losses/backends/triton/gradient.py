"""The last pass: loss and gradient from the scalings u and v, tile by tile, nothing of size n x m in memory.

With w_ij = T_ij / 2 * dM_ij/d(d2_ij) and T_ij = u_i K_ij v_j, the gradient on x_i is 2 sum_j w_ij (x_i - y_j); the
gradient on y_j is the same with the two batches exchanged, by a second launch, so that no sum depends on timing.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.backends.triton.device import allowed_pairs, hinge, kernel_value, load_rows, product
from batchot.losses.backends.triton.prepare import Prepared
from batchot.losses.backends.triton.problem import Options, Tiles


@triton.jit
def gradient_kernel(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, u_ptr, v_ptr, inverse_ptr, loss_ptr, grad_ptr,
    n, m, d, margin, pos_margin, gamma, lam,
    mass,  # of a pair under the uniform plan
    ITSELF: tl.constexpr, NORMALIZE: tl.constexpr, UNIFORM: tl.constexpr, NEED_GRAD: tl.constexpr,
    CHUNKS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, BC: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Rows of program 0 and columns d of program 1 of the gradient on raw x; the part of the loss of these rows."""
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    chunk = tl.program_id(1)
    rows = i < n
    k = chunk * BC + tl.arange(0, BC)
    x2 = tl.load(x2_ptr + i, mask=rows, other=0.0)
    lx = tl.load(lx_ptr + i, mask=rows, other=0)
    if not UNIFORM:
        u = tl.load(u_ptr + i, mask=rows, other=0.0)
    loss = tl.zeros([BM], tl.float64)
    rho = tl.zeros([BM], tl.float32)
    along = tl.zeros([BM], tl.float32)
    WY = tl.zeros([BM, BC], tl.float32)
    for first in range(0, m, BN):
        j = first + tl.arange(0, BN)
        y2 = tl.load(y2_ptr + j, mask=j < m, other=0.0)
        ly = tl.load(ly_ptr + j, mask=j < m, other=0)
        same = lx[:, None] == ly[None, :]
        G = product(x_ptr, y_ptr, i, j, n, m, d, CHUNKS, BD, PRECISION)
        M = hinge(G, x2, y2, same, margin, pos_margin)
        allowed = allowed_pairs(i, j, n, m, ITSELF)
        if UNIFORM:
            T = tl.where(allowed, mass, 0.0)
        else:
            v = tl.load(v_ptr + j, mask=j < m, other=0.0)
            T = tl.where(allowed, u[:, None] * kernel_value(M, gamma, lam) * v[None, :], 0.0)
        loss += tl.sum(tl.where(allowed, T * M, 0.0), 1)
        if NEED_GRAD:
            W = tl.where(M > 0.0, tl.where(same, T, -T), 0.0)  # pairs whose hinge is closed pull nothing
            rho += tl.sum(W, 1)
            along += tl.sum(W * G, 1)
            # The factor n keeps the compiler from adding in the tensor core, which does not round to nearest.
            WY += tl.dot(W, load_rows(y_ptr, j, k, m, d), input_precision=PRECISION) * n
    if chunk == 0:
        tl.store(loss_ptr + tl.program_id(0), 0.5 * tl.sum(loss, 0))
    if NEED_GRAD:
        factor = 2.0 if ITSELF else 1.0  # of a batch against itself, x_i is also the other end of its pairs
        x = load_rows(x_ptr, i, k, n, d)
        grad = factor * (rho[:, None] * x - WY / n)
        # the derivative of the norm takes away what points along x: <x, grad> = rho ||x||^2 - <w, G>
        if NORMALIZE:
            grad = grad - (factor * (rho * x2 - along))[:, None] * x
            grad = grad * tl.load(inverse_ptr + i, mask=rows, other=0.0)[:, None]
        inside = rows[:, None] & (k < d)[None, :]
        tl.store(grad_ptr + i[:, None].to(tl.int64) * d + k[None, :], grad, mask=inside)


def loss_and_gradient(
    x: Prepared, y: Prepared, u: Tensor, v: Tensor, options: Options, need_grad: bool, tiles: Tiles
) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient on the raw embeddings of x (of no elements where not needed)."""
    n, d = x.x.shape
    m = len(y.x)
    itself = x is y
    sizes = tiles.of_gradient(d)
    programs = triton.cdiv(n, sizes["BM"])
    loss = torch.empty(programs, dtype=torch.float64, device=u.device)
    grad = torch.empty(x.x.shape if need_grad else (0, d), dtype=torch.float32, device=u.device)
    gradient_kernel[(programs, triton.cdiv(d, sizes["BC"]) if need_grad else 1)](
        x.x, y.x, x.squared, y.squared, x.labels, y.labels, u, v, x.inverse, loss, grad,
        n, m, d, options.margin, options.pos_margin, options.gamma, options.lam,
        1.0 / (n * (m - 1.0)) if itself else 1.0 / (n * m),
        ITSELF=itself, NORMALIZE=options.normalize, UNIFORM=options.uniform, NEED_GRAD=need_grad,
        PRECISION=options.precision, **sizes,
    )  # fmt: skip
    return loss.sum(dtype=torch.float32), grad
