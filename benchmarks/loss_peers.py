"""The peers that the loss is timed against, on CPUs (loss_scale.py) and on GPUs (loss_gpu.py)."""

from __future__ import annotations

from collections.abc import Callable

import torch

LAM, GAMMA, MARGIN, WIDTH = 5.0, 3.0, 1.0, 128
SIZES = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
PEERS = ("contrastive", "supcon", "POT", "GeomLoss")
Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def with_plan_of(solve: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    """Our loss, with the plan of another solver for the cost D."""
    from batchot import ground_distance

    def step(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        M, D = ground_distance(torch.nn.functional.normalize(x), labels, gamma=GAMMA, margin=MARGIN)
        with torch.no_grad():
            T = solve(D)
        return 0.5 * (T * M).sum()

    return step


def peers() -> dict[str, Step]:
    """Each of PEERS."""
    import ot
    from geomloss import ot as geomloss
    from pytorch_metric_learning.losses import ContrastiveLoss, SupConLoss

    def pot(D: torch.Tensor) -> torch.Tensor:
        a = D.new_full((len(D),), 1.0 / len(D))
        return ot.sinkhorn(a, a, D, 1.0 / LAM, stopThr=1e-6, warn=False)

    return {
        "contrastive": ContrastiveLoss(),
        "supcon": SupConLoss(),
        "POT": with_plan_of(pot),
        "GeomLoss": with_plan_of(lambda D: geomloss.solve(D, reg=1.0 / LAM, max_iter=20).plan),
    }
