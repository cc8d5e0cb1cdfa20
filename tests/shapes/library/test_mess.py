from __future__ import annotations

import numpy as np

from batchot.shapes.library.part import Dice, join, spoil
from batchot.shapes.library.solids import box, cushion

PARTS = [box((1, 1, 1)), cushion((1, 1, 1), (2, 0, 0)), box((1, 1, 1), (4, 0, 0))]


def test_most_shapes_stay_clean_and_every_fault_occurs() -> None:
    clean = join(PARTS)
    seen = {"clean": 0, "turned": 0, "twice": 0, "holes": 0, "soup": 0}
    for seed in range(300):
        whole = join(spoil(Dice(seed), PARTS))
        n, m = len(whole.vertices), len(whole.faces)
        if n == len(clean.vertices) and m == len(clean.faces):
            seen["turned" if (whole.faces != clean.faces).any() else "clean"] += 1
        elif n == 3 * m:
            seen["soup"] += 1
        elif m < len(clean.faces):
            seen["holes"] += 1
        else:
            seen["twice"] += 1
    assert seen["clean"] > 150
    assert min(seen.values()) > 2


def test_faults_keep_the_outline() -> None:
    clean = join(PARTS)
    for seed in range(40):
        whole = join(spoil(Dice(seed), PARTS))
        used = whole.vertices[whole.faces].reshape(-1, 3)
        assert np.allclose(used.min(axis=0), clean.vertices.min(axis=0), atol=0.05)
        assert np.allclose(used.max(axis=0), clean.vertices.max(axis=0), atol=0.05)
