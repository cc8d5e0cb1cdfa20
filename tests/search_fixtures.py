"""A run of a second and an index of it, which the tests of the search and of its page look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchot.cli import main
from search_support import make_sketch_run


@pytest.fixture(scope="session")
def sketch_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A run with towers for drawings and shapes, and the folder of its shapes; not to be changed."""
    root = tmp_path_factory.mktemp("search run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield make_sketch_run(root)


@pytest.fixture(scope="session")
def small_index(sketch_run: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 15 shapes, not to be changed."""
    run, shapes = sketch_run
    out = tmp_path_factory.mktemp("index") / "parts"
    assert (
        main(["index", "build", str(run), str(shapes), "--out", str(out), "--device=cpu", "--processes=1"])
        == 0
    )
    return out
