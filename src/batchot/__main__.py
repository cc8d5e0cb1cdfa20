"""``python -m batchot``, the same as the command ``batchot``."""

from __future__ import annotations

import sys

from batchot.cli import main

if __name__ == "__main__":
    sys.exit(main())
