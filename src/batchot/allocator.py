"""Memory of the C library, set up for tensors that come and go."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


@cache
def reuse_large_blocks() -> bool:
    """Let glibc keep freed blocks of any size for the next tensor, for the rest of the process.

    It gives blocks above 32 MB back to the system at once, and the system fills the next one with zeros page by page:
    on a CPU half of the time of a convolutional network on batches of 64 pictures went there. The process keeps the
    memory of its peak; numbers do not change.

    Returns:
        Whether it could be done; elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # threads have heaps of at most 64 MB of their own unless all share one
    return all(
        mallopt(option, value) == 1
        for option, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_ARENA_MAX, 1))
    )
