"""What the first loss on a new machine costs: processor seconds with nothing compiled before.

    python benchmarks/first_loss.py [--runs 3] [--rows 256] [--width 64]

Each run is a process of its own with an empty cache of compiled loops. The import of batchot and all that the loss
imports count, that of torch does not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

CODE = """
import sys, time, torch
rows, width = map(int, sys.argv[1:])
x, labels = torch.randn(rows, width, requires_grad=True), torch.arange(rows) % 8
began = time.process_time(), time.perf_counter()
import batchot
batchot.BatchOTLoss()(x, labels).backward()
print(f"{time.process_time() - began[0]:.2f} processor seconds, {time.perf_counter() - began[1]:.2f} s")
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as empty:
            command = [sys.executable, "-c", CODE, str(options.rows), str(options.width)]
            subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": empty}, check=True)


if __name__ == "__main__":
    main()
