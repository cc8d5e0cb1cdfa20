"""What a process of the test of gradient caching under DistributedDataParallel does."""

from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from batchot import BatchOTLoss, DistributedLoss, GradientCache


def network() -> nn.Sequential:
    """Give the network of the test, always with the same weights."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.0), nn.Linear(16, 4))


def part(rank: int) -> tuple[Tensor, Tensor]:
    """Give samples and labels of a process."""
    generator = torch.Generator().manual_seed(rank)
    rows = 11 - 2 * rank
    return torch.randn(rows, 6, generator=generator), torch.arange(rows) % 3


def work(rank: int, folder: str) -> None:
    """Go back through the loss of this process's samples, and that of all, and leave what rank 0 has of it."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        x, labels = part(rank)
        out = {
            "alone": _step(BatchOTLoss(), x, labels),
            "together": _step(DistributedLoss(BatchOTLoss()), x, labels),
        }
        if rank == 0:
            torch.save(out, Path(folder) / "out.pt")
    finally:
        distributed.destroy_process_group()


def _step(loss: nn.Module, x: Tensor, labels: Tensor) -> dict[str, object]:
    wrapped = DistributedDataParallel(GradientCache(network(), chunk=4))
    sent: list[int] = []

    # PyTorch looks at the annotations themselves, so they must not be strings
    def send(state: object, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
        sent.append(bucket.index())
        buffer = bucket.buffer().div_(2)
        done = distributed.all_reduce(buffer, async_op=True).get_future()
        return done.then(lambda f: f.value()[0])

    wrapped.register_comm_hook(None, send)
    for _ in range(2):  # the second time buckets are in the order of the first one's gradients
        wrapped.zero_grad()
        sent.clear()
        value = loss(wrapped(x), labels)
        value.backward()
    grads = {name: p.grad for name, p in wrapped.module.network.named_parameters()}
    return {"grads": grads, "sent": sent, "loss": value.detach()}
