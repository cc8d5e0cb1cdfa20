"""One Ray cluster of two workers for the tests of a module."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from batchot.workers.ray import joined


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster on this machine that this process is part of; its address."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'batchot[ray]'")
    context = joined(None, cpus=2)
    # Two test processes must not start theirs at the same moment: each looks for free ports.
    with FileLock(Path(tempfile.gettempdir()) / "batchot-tests-ray.lock"):
        ray = context.__enter__()
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        context.__exit__(None, None, None)
