"""Small shapes on disk, and sources that do to the process that loads them what the worst files do."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from batchot.shapes.shape import Shape, Up
from batchot.shapes.source import ShapeSource


def write_tetrahedra(folder: Path, n: int, n_classes: int = 3, seed: int = 0) -> list[ShapeSource]:
    """``n`` different tetrahedra as OFF files ``folder/class_K/shape_I.off``."""
    random = np.random.default_rng(seed)
    sources = []
    for index in range(n):
        label = index % n_classes
        path = folder / f"class_{label}" / f"shape_{index}.off"
        path.parent.mkdir(parents=True, exist_ok=True)
        corners = "\n".join(" ".join(f"{x:.6f}" for x in corner) for corner in random.uniform(-1, 1, (4, 3)))
        path.write_text(f"OFF\n4 4 0\n{corners}\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")
        sources.append(ShapeSource(f"class_{label}/shape_{index}", path, None, label))
    return sources


@dataclass(frozen=True)
class HostileSource(ShapeSource):
    """A shape that takes its process along, or does not let go of it."""

    deed: Literal["segfault", "killed", "killed once", "hang", "memory", "print", "slow"] = "segfault"

    def load(self, up: Up = "auto") -> Shape:
        """Do the deed; where the process survives, load."""
        self._do()
        return super().load(up)

    def content(self) -> bytes:
        """Do the deed; where the process survives, read."""
        self._do()
        return super().content()

    def _do(self) -> None:
        mark = self.path.with_suffix(".mark")
        if self.deed == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.deed == "killed" or (self.deed == "killed once" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.deed == "hang":
            mark.touch()
            time.sleep(600)
        elif self.deed == "memory":
            raise MemoryError
        elif self.deed == "print":
            os.write(1, b"a library says hello\n" * 10)
        elif self.deed == "slow":
            time.sleep(0.15)
