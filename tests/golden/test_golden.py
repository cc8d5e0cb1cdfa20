"""The numbers and bytes of golden.json still come out; see rails.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_nothing_has_changed() -> None:
    """In a process of its own: thread counts and caches of other tests do not reach it."""
    command = [sys.executable, str(HERE / "rails.py"), "check", str(HERE / "golden.json")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
