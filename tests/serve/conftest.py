"""A server of the small index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from search_fixtures import photo_index, sketch_run, small_index
from serve_support import serving

__all__ = ["photo_index", "server", "sketch_run", "small_index"]


@pytest.fixture(scope="session")
def server(small_index: Path) -> Iterator[str]:
    """The address of a server of the small index."""
    pytest.importorskip("nicegui", reason="the page needs the extra search")
    with serving(small_index, "--processes", "1", "--upload-mb", "4", "--upload-seconds", "10") as (
        address,
        _,
    ):
        yield address
