"""CPU kernels of several transport problems between row ranges of one matrix of embeddings, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit

# numba keeps compiled code by the date of the file that it stands in: touch this one after a change
# to one that it imports.
from batchot.losses.kernels import NO_DIAGONAL, kernel_rows, weight_rows
from batchot.losses.newton_kernels import scale

_ONE = np.float32(1.0)


@njit(nogil=True, cache=True, error_model="numpy")
def solve_blocks(G, labels, blocks, uniform, numbers, max_iterations, W, losses):  # type: ignore[no-untyped-def]
    """Solve every problem of a stack: its loss, and its gradient weights w_ij = T_ij / 2 * dM_ij/d(d2_ij) in W.

    G: Gram matrix of all rows, (N, N). blocks: (k, 4), first and last row, first and last column of each problem; rows
    equal to columns are a batch against itself. numbers: (k, 5), margin, pos_margin, gamma, lam, tolerance.
    W: (N, N), zeros; losses: (k,). Returns whether every plan has its marginals within the tolerance.
    """
    N = G.shape[0]
    squares = np.empty(N, np.float32)
    for i in range(N):
        squares[i] = G[i, i]
    unread = np.empty(0)  # column sums, which the Laplacian below sums itself
    rho = np.empty(N, np.float32)
    for p in range(blocks.shape[0]):
        r0, r1, c0, c1 = blocks[p, 0], blocks[p, 1], blocks[p, 2], blocks[p, 3]
        itself = r0 == c0 and r1 == c1
        diagonal = 0 if itself else NO_DIAGONAL
        n, m = r1 - r0, c1 - c0
        margin, pos_margin = np.float32(numbers[p, 0]), np.float32(numbers[p, 1])
        gamma, lam, tolerance = np.float32(numbers[p, 2]), np.float32(numbers[p, 3]), numbers[p, 4]
        x2, y2, lx, ly = squares[r0:r1], squares[c0:c1], labels[r0:r1], labels[c0:c1]
        g = np.empty((n, m), np.float32)  # contiguous, so that the loops over its rows vectorise
        for i in range(n):
            for j in range(m):
                g[i, j] = G[r0 + i, c0 + j]
        K = np.empty((n, m), np.float32)
        u = np.empty(n, np.float32)
        v = np.empty(m, np.float32)
        if uniform[p]:
            u[:] = 1.0 / n / ((n - 1) if itself else m)
            v[:] = _ONE
        else:
            kernel_rows(g, x2, y2, lx, ly, margin, pos_margin, gamma, lam, diagonal, 0, n, K)
            if not scale(K, itself, tolerance, max_iterations[p], u, v) <= tolerance:
                return False
        losses[p] = weight_rows(
            g, x2, y2, lx, ly, margin, pos_margin, u, v, diagonal, uniform[p], 0, n, K, rho[:n], unread
        )
        W[r0:r1, c0:c1] = K
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def laplacian(W, blocks, scales):  # type: ignore[no-untyped-def]
    """L = diag(S 1) - S, (N, N), of S = A + A^T, where A is W with the block of each problem times its scale.

    With it the gradient of sum_p scale_p loss_p on all rows Z is 2 L Z.
    """
    N = W.shape[0]
    L = np.zeros((N, N), np.float32)
    degree = np.zeros(N)
    for p in range(blocks.shape[0]):
        scale = scales[p]
        for i in range(blocks[p, 0], blocks[p, 1]):
            for j in range(blocks[p, 2], blocks[p, 3]):
                s = scale * W[i, j]
                L[i, j] -= s
                L[j, i] -= s
                degree[i] += s
                degree[j] += s
    for i in range(N):
        L[i, i] += np.float32(degree[i])
    return L
