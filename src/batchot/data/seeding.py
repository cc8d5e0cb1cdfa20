"""Random numbers that are a function of a key: which seed, which epoch, which batch."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def generator_for(purpose: str, *key: int) -> torch.Generator:
    """A random number generator that depends on ``purpose`` and ``key`` alone.

    Args:
        purpose: what the numbers are for, so that two purposes with the same key share no numbers.
        key: e.g. seed, epoch and batch, each at least 0.

    Returns:
        A CPU generator.

    Raises:
        ValueError: on a negative number in the key.

    Example:
        >>> import torch
        >>> from batchot.data.seeding import generator_for
        >>> a, b = (torch.rand(2, generator=generator_for("shift", 0, 3)) for _ in range(2))
        >>> bool((a == b).all())
        True
    """
    if any(number < 0 for number in key):
        raise ValueError(f"seed, epoch and batch must be at least 0, got {key}")
    # SeedSequence spreads the key over all bits: neighbouring seeds give unrelated streams.
    entropy = [zlib.crc32(purpose.encode()), len(key), *key]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
