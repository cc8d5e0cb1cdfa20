"""The kernels run on a GPU where there is one, else in Triton's interpreter, in a process of its own.

Triton reads TRITON_INTERPRET when it is imported, for the whole process: `test_interpreter.py` starts these tests
again with it set.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture
def device() -> torch.device:
    """Where the kernels run."""
    if find_spec("triton") is None:
        pytest.skip("Triton is not installed (pip install triton, Linux x86_64)")
    if torch.cuda.is_available() and not INTERPRETED:
        return torch.device("cuda")
    if not INTERPRETED:
        pytest.skip("no GPU: test_interpreter.py runs this in a process with TRITON_INTERPRET=1")
    return torch.device("cpu")
