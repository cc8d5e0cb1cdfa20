"""One transport problem over two processes: `python examples/two_processes.py`.

Each process has half of every batch; loss and gradients are those of one process with all of it. With torchrun leave
out `spawn` and the address: `torchrun --nproc-per-node 2 script.py`.
"""

import os
import socket

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from batchot import BatchOTLoss, DistributedLoss
from batchot.data import load_digits


def work(rank: int, ranks: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32))
    spread = DistributedDataParallel(network)
    loss_of = DistributedLoss(BatchOTLoss())
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)

    digits = load_digits().train
    for step, batch in enumerate(torch.randperm(len(digits.labels)).split(128)[:5]):
        if rank == 0:  # what one process would have
            whole = BatchOTLoss()(network(digits.images[batch] / 255), digits.labels[batch])
        mine = batch.chunk(ranks)[rank]
        optimiser.zero_grad()
        loss = loss_of(spread(digits.images[mine] / 255), digits.labels[mine])
        loss.backward()
        optimiser.step()
        if rank == 0:
            print(f"step {step + 1}: two processes {loss.item():.5f}, one {whole.item():.5f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (2, port), nprocs=2)
