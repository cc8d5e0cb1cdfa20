"""CPU kernels of several transport problems between row ranges of one matrix of embeddings, compiled by numba."""

from __future__ import annotations

import numpy as np

from batchot.compiling import njit


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
