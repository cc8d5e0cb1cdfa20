"""The loss inside pytorch-metric-learning: wrappers, miners, distances, trainers."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
import torch.multiprocessing as mp
from pytorch_metric_learning import distances, losses, miners, trainers
from pytorch_metric_learning.utils import distributed

import batchot
from batchot import batch_ot_loss
from batchot.pml import BatchOTLoss


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
    assert isinstance(loss, losses.BaseMetricLossFunction) and isinstance(loss, batchot.BatchOTLoss)
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


MINERS = [
    miners.AngularMiner(),
    miners.BatchEasyHardMiner(),
    miners.BatchHardMiner(),
    miners.DistanceWeightedMiner(),
    miners.HDCMiner(),
    miners.MultiSimilarityMiner(),
    miners.PairMarginMiner(),
    miners.TripletMarginMiner(),
    miners.UniformHistogramMiner(),
]


def test_every_miner_is_tested() -> None:
    given = (
        {name for name in miners.__all__ if name.endswith("Miner")} if hasattr(miners, "__all__") else set()
    )
    given |= {name for name in vars(miners) if name.endswith("Miner")}
    assert given - {"BaseMiner"} == {type(miner).__name__ for miner in MINERS}


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("miner", MINERS, ids=lambda miner: type(miner).__name__)
def test_pairs_of_every_miner_have_a_plan(miner, memory: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(40, 8, generator=generator).requires_grad_() for _ in range(3)]
    labels = torch.arange(40) % 5
    values = []
    for steps in (100, 1000):  # the value is not that of an iteration that was given up
        torch.manual_seed(0)  # some miners draw
        loss = BatchOTLoss(max_iterations=steps)
        if memory:
            loss = losses.CrossBatchMemory(loss, 8, 80, miner=miner)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for x in rows:
                value = loss(x, labels) if memory else loss(x, labels, miner(x.detach(), labels))
            value.backward()
        assert torch.isfinite(rows[-1].grad).all()
        values.append(value.item())
    assert values[0] == pytest.approx(values[1], rel=1e-5) and values[0] > 0


class Mine(BatchOTLoss):
    """A subclass, whose name no wrapper knows."""


@pytest.mark.parametrize("kind", [BatchOTLoss, Mine, batchot.BatchOTLoss])
def test_wrappers_take_the_loss_and_its_subclasses(batch, kind) -> None:
    x, labels = batch
    near = x + 0.1
    pairs = torch.arange(24)
    both = torch.cat([x, near]), torch.cat([pairs, pairs])
    assert losses.SelfSupervisedLoss(kind())(x, near).item() == batch_ot_loss(*both).item()
    across = losses.SelfSupervisedLoss(kind(), symmetric=False)(x, near)
    assert across.item() == batch_ot_loss(x, pairs, None, near, pairs).item()
    memory = losses.CrossBatchMemory(kind(), 7, 24)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(memory)))
    assert copied(x, labels).item() == memory(x, labels).item()
    assert type(memory.loss) is kind
    for refused in (
        losses.ProxyAnchorLoss(5, 7),
        torch.nn.CrossEntropyLoss(),
    ):  # what a wrapper refused, it refuses
        with pytest.raises(Exception, match="not supported for"):
            losses.CrossBatchMemory(refused, 7, 24)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_class_is_the_same_before_and_after_that_library_is_imported(tmp_path) -> None:
    file = tmp_path / "loss.pickle"
    run(
        "import pickle, pytorch_metric_learning.losses, batchot.pml\n"
        f"pickle.dump(batchot.BatchOTLoss(lam=3.0), open({str(file)!r}, 'wb'))"
    )
    code = (
        "import pickle, sys, batchot\n"
        "sys.modules['pytorch_metric_learning'] = None  # not installed\n"
        f"loss = pickle.load(open({str(file)!r}, 'rb'))\n"
        "print(type(loss) is batchot.BatchOTLoss, loss.settings.lam)\n"
        "try:\n    import batchot.pml\nexcept ImportError as error:\n    print(error)"
    )
    first, second = run(code).splitlines()
    assert first == "True 3.0" and "pip install 'pytorch-metric-learning" in second


def test_a_version_without_lists_of_losses() -> None:
    code = (
        "import torch\n"
        "from pytorch_metric_learning import losses\n"
        "for kind in (losses.BaseLossWrapper, losses.CrossBatchMemory, losses.SelfSupervisedLoss):\n"
        "    del kind.supported_losses, kind.check_loss_support\n"
        "base = losses.BaseLossWrapper\n"
        "base.__init__ = lambda self, loss, **options: super(base, self).__init__(**options)\n"
        "import batchot\n"
        "from batchot.pml import BatchOTLoss\n"
        "x, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])\n"
        "value = batchot.BatchOTLoss()(x, labels).item()\n"
        "memory = losses.CrossBatchMemory(BatchOTLoss(), 4, 4)\n"
        "print(BatchOTLoss()(x, labels).item() == value, abs(memory(x, labels).item() - value) < 1e-5)"
    )
    assert run(code) == "True True"


def test_nobody_else_pays_for_the_import() -> None:
    code = "import sys; from batchot import BatchOTLoss; BatchOTLoss(); print('pytorch_metric_learning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
