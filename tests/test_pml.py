"""The loss inside pytorch-metric-learning: wrappers, miners, distances, trainers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.multiprocessing as mp
from pytorch_metric_learning import distances, losses, miners, trainers
from pytorch_metric_learning.utils import distributed

from batchot import BatchOTLoss, batch_ot_loss


def test_cross_batch_memory(batch) -> None:
    x, labels = batch
    x = x.clone().requires_grad_()
    memory = losses.CrossBatchMemory(BatchOTLoss(), embedding_size=7, memory_size=40)
    for _ in range(3):
        loss = memory(x, labels)
        loss.backward()
        assert torch.isfinite(loss)
    # The memory holds the batch itself; pairs of a sample with its own copy must be left out.
    fresh = losses.CrossBatchMemory(BatchOTLoss(), embedding_size=7, memory_size=24)
    assert fresh(x, labels).item() == pytest.approx(batch_ot_loss(x, labels).item(), rel=1e-4)
    mined = losses.CrossBatchMemory(BatchOTLoss(), 7, 40, miner=miners.MultiSimilarityMiner())
    assert torch.isfinite(mined(x, labels))


def test_miners_multiple_losses_and_base_class(batch) -> None:
    x, labels = batch
    loss = BatchOTLoss(lam=8.0)
    assert isinstance(loss, losses.BaseMetricLossFunction) and isinstance(loss, BatchOTLoss)
    for miner in (miners.TripletMarginMiner(), miners.PairMarginMiner()):
        assert torch.isfinite(loss(x, labels, miner(x, labels)))
    both = losses.MultipleLosses([loss, losses.ContrastiveLoss()], weights=[1.0, 0.0])
    assert both(x, labels).item() == pytest.approx(loss(x, labels).item())


def test_distances(batch) -> None:
    x, labels = batch
    expected = batch_ot_loss(x, labels).item()
    assert BatchOTLoss(distance=distances.LpDistance(power=2))(x, labels).item() == pytest.approx(
        expected, rel=1e-4
    )
    assert BatchOTLoss(distance=distances.CosineSimilarity())(x, labels).item() == pytest.approx(
        expected, rel=1e-4
    )
    assert torch.isfinite(BatchOTLoss(distance=distances.SNRDistance())(x, labels))
    raw = distances.LpDistance(power=2, normalize_embeddings=False)
    assert BatchOTLoss(distance=raw)(x, labels).item() == pytest.approx(
        batch_ot_loss(x, labels, normalize=False).item(), rel=1e-4
    )
    with pytest.raises(
        ValueError, match="DotProductSimilarity is a similarity from which no distance follows"
    ):
        BatchOTLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))


def test_trainer(tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    data = [(torch.randn(6, generator=generator) + i % 3, i % 3) for i in range(60)]
    trunk = torch.nn.Linear(6, 4)
    before = trunk.weight.detach().clone()
    trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1)},
        batch_size=20,
        loss_funcs={"metric_loss": BatchOTLoss()},
        dataset=data,
        dataloader_num_workers=0,
    ).train(num_epochs=1)
    assert not torch.equal(before, trunk.weight)


def _rank(rank: int, port: int, results) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10) % 3
    mine = slice(5 * rank, 5 * rank + 5)
    wrapped = distributed.DistributedLossWrapper(BatchOTLoss())
    results[rank] = (
        wrapped(x[mine].requires_grad_(), labels[mine]).item() / 2
    )  # the wrapper multiplies by ranks
    torch.distributed.destroy_process_group()


def test_distributed_wrapper() -> None:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_rank, args=(port, results), nprocs=2)
        got = dict(results)
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    expected = batch_ot_loss(x, torch.arange(10) % 3).item()
    assert got[0] == pytest.approx(expected, rel=1e-4) and got[1] == pytest.approx(expected, rel=1e-4)


def test_nobody_else_pays_for_the_import() -> None:
    code = "import sys; from batchot import BatchOTLoss; BatchOTLoss(); print('pytorch_metric_learning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
