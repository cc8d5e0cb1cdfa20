"""Rows of one problem shared among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

THREADED_PAIRS = 1 << 21  # below, handing work to threads in every step costs more than they save

RowRunner = Callable[[Callable[[int, int], Any]], list[Any]]


def row_runner(n: int, m: int, stack: ExitStack) -> RowRunner:
    """A function that applies work(first, last) to all n rows: at once, or shared among torch's number of threads."""
    threads = min(torch.get_num_threads(), n)
    if n * m < THREADED_PAIRS or threads == 1:
        return lambda work: [work(0, n)]
    # Threads of this call alone: nothing is left over that a fork or a second caller could trip on.
    pool = stack.enter_context(ThreadPoolExecutor(threads))
    edges = np.linspace(0, n, threads + 1).astype(int).tolist()
    return lambda work: list(pool.map(work, edges[:-1], edges[1:]))
