"""Several gloo processes on this machine that run a function of a test."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_in_group(world: int, work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What `work(*arguments)` returns in each of the processes, in the order of their ranks."""
    mp.start_processes(_member, (world, work, str(folder), arguments), nprocs=world, start_method="spawn")
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(world)]


def _member(rank: int, world: int, work: Callable[..., Any], folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=90),
    )
    result = work(*arguments)
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    dist.barrier()
    dist.destroy_process_group()
