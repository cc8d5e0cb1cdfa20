"""The kernels compile for GPUs that are not here, and fit them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="the interpreter compiles nothing")
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed (pip install triton)")
def test_small_kernel_and_passes_fit_an_h100() -> None:
    """No more shared memory than a multiprocessor of compute capability 9.0 has, and next to no register spilled."""
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/gpu_compile.py",
            "--capability",
            "90",
            "--only",
            "small 64",
            "kernel matrix",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.rsplit(maxsplit=7) for line in done.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["small 64", "kernel matrix, n = 512", "kernel matrix, n = 4096"]
    for _, _, _, registers, stack, shared, _, _ in rows:
        assert 0 < int(registers) <= 255 and int(stack) <= 64 and int(shared) <= 227 * 1024
