from __future__ import annotations

import subprocess
import sys

import pytest

import batchot


def test_public_names_are_there() -> None:
    for name in batchot.__all__:
        assert getattr(batchot, name).__name__ == name
        assert name in dir(batchot)
    with pytest.raises(AttributeError, match="no attribute 'Sinkhorn'"):
        batchot.Sinkhorn  # noqa: B018


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("batchot", ("torch", "numpy")),
        ("batchot.transport", ("numba", "lightning", "sklearn", "matplotlib", "PIL")),
        ("batchot.losses", ("numba", "lightning", "sklearn", "pytorch_metric_learning")),
        ("batchot.evaluation", ("lightning", "sklearn", "matplotlib")),
        ("batchot.shapes", ("torch", "trimesh", "h5py", "scipy")),
        ("batchot.shapes.render.render", ("torch", "trimesh")),
        ("batchot.training.settings", ("torch",)),
    ],
)
def test_imports_stay_light(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
