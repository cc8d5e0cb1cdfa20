"""CPU kernels of a tile of K that is made, used and forgotten, compiled by numba."""

from __future__ import annotations

import numpy as np

from batchot.compiling import njit

# numba keeps compiled code by the date of the file that it stands in: touch this one after a change
# to one that it imports.
from batchot.losses.kernels import _dot, _exp

_FAST = {"reassoc", "contract", "nsz"}  # lets sums and products be vectorised; NaN and Inf keep their meaning
_CHUNK = 256  # columns at a time: their K stays in the nearest cache
_FLUSH = 32  # rows whose column sums are gathered in float32 before they go to float64
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)


@njit(inline="always", fastmath=_FAST)
def _kernel(g, xi, y2, li, ly, margin, pos_margin, gamma, lam, k):  # type: ignore[no-untyped-def]
    """K of one row and a chunk of columns."""
    for j in range(g.shape[0]):
        d2 = max(xi + y2[j] - _TWO * g[j], _ZERO)
        M = max(d2 - pos_margin if li == ly[j] else margin - d2, _ZERO)
        k[j] = _exp(-lam * _exp(-gamma * M))


@njit(inline="always", fastmath=_FAST)
def _add(s, k, out):  # type: ignore[no-untyped-def]
    for j in range(k.shape[0]):
        out[j] += s * k[j]


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def kernel_sums(G, x2, y2, lx, ly, margin, pos_margin, gamma, lam, diagonal, u, v, first, last, r, c):  # type: ignore[no-untyped-def]
    """r_i += sum_j K_ij v_j and c_j += sum_i u_i K_ij for rows first..last, without keeping K.

    The arguments are those of kernels.kernel_rows. A c of length 0 is left out.
    """
    m = G.shape[1]
    k = np.empty(_CHUNK, np.float32)
    part = np.zeros(c.shape[0], np.float32)
    for i in range(first, last):
        total = 0.0
        for start in range(0, m, _CHUNK):
            stop = min(start + _CHUNK, m)
            chunk = k[: stop - start]
            _kernel(
                G[i, start:stop], x2[i], y2[start:stop], lx[i], ly[start:stop], margin, pos_margin, gamma, lam, chunk
            )  # fmt: skip
            if start <= i + diagonal < stop:
                chunk[i + diagonal - start] = _ZERO
            total += _dot(chunk, v[start:stop])
            if c.shape[0] > 0:
                _add(u[i], chunk, part[start:stop])
        r[i] += total
        if c.shape[0] > 0 and ((i - first) % _FLUSH == _FLUSH - 1 or i == last - 1):
            for j in range(m):
                c[j] += part[j]
                part[j] = _ZERO
