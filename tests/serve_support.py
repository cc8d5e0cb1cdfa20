"""Start a server as a user does."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(index: Path, *options: str) -> Iterator[tuple[str, str]]:
    """Start batchot serve; gives its address and what it printed."""
    command = [
        sys.executable,
        "-m",
        "batchot",
        "serve",
        str(index),
        "--port=0",
        "--device=cpu",
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        printed, deadline = "", time.monotonic() + 120
        while "Ctrl-C" not in printed and process.poll() is None and time.monotonic() < deadline:
            printed += process.stdout.readline()
        assert "Ctrl-C" in printed, printed + process.stderr.read()
        port = int(re.findall(r"http://[\d.]+:(\d+)", printed)[0])  # the free one that it took
        while time.monotonic() < deadline:  # it listens a moment later
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", printed
        assert process.poll() is None, "the server ended: " + process.stderr.read()
    finally:
        process.terminate()
        process.communicate(timeout=30)
