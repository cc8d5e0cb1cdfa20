"""The tests of this folder once more where there is no GPU, by Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run on the GPU")
@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="this is the process with the interpreter")
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed (pip install triton)")
def test_kernels_in_the_interpreter() -> None:
    root = HERE.parents[3]
    path = [str(root / "src"), str(root / "tests"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(HERE)],
        cwd=root,
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": os.pathsep.join(path),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_importing_the_package_needs_no_triton() -> None:
    program = (
        "import sys; sys.modules['triton'] = None; "
        "from batchot.losses.backends.triton import gpu_loss; print('done')"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[3] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done"
