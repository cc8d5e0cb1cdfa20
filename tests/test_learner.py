"""A network of one's own under Lightning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from batchot import BatchOTLoss, Learner, retrieval_scores


def loader(n: int, seed: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    x = torch.randn(n, 6, generator=generator) + 2 * torch.nn.functional.one_hot(labels, 6)
    return DataLoader(TensorDataset(x, labels), batch_size=16)


def trainer(root: Path, **options: object) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(
        accelerator="cpu", default_root_dir=root, enable_model_summary=False, **quiet, **options  # type: ignore[arg-type]
    )  # fmt: skip


def test_it_is_a_plain_loop_and_measures_the_whole_set(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, mine = torch.nn.Linear(6, 3), torch.nn.Linear(6, 3)
    mine.load_state_dict(network.state_dict())
    train, val = loader(48, 0), loader(40, 1)  # 40 samples: the last batch is half a batch
    learner = Learner(network, BatchOTLoss(), optimizer=lambda p: torch.optim.SGD(p, 0.1))
    fit = trainer(tmp_path, max_epochs=2)
    fit.fit(learner, train, val)

    optimiser, loss_of = torch.optim.SGD(mine.parameters(), 0.1), BatchOTLoss()
    for _ in range(2):
        for x, labels in train:
            optimiser.zero_grad()
            loss_of(mine(x), labels).backward()
            optimiser.step()
    torch.testing.assert_close(network.weight, mine.weight)
    x, labels = val.dataset[:]
    scores = retrieval_scores(mine(x).detach(), labels, distance="cosine")
    assert fit.callback_metrics["val/map"].item() == pytest.approx(scores.map)
    assert fit.callback_metrics["val/nn"].item() == pytest.approx(scores.nn)


def test_parameters_of_the_loss_are_trained_and_come_back(tmp_path: Path) -> None:
    from pytorch_metric_learning.losses import ProxyAnchorLoss

    learner = Learner(torch.nn.Linear(6, 3), ProxyAnchorLoss(4, 3))
    before = learner.loss.proxies.detach().clone()
    fit = trainer(tmp_path, max_epochs=1)
    fit.fit(learner, loader(32, 0))
    assert not torch.equal(before, learner.loss.proxies)
    fit.save_checkpoint(tmp_path / "x.ckpt")
    again = Learner(torch.nn.Linear(6, 3), ProxyAnchorLoss(4, 3))
    again.load_state_dict(torch.load(tmp_path / "x.ckpt", weights_only=True)["state_dict"])
    assert torch.equal(again.loss.proxies, learner.loss.proxies)


def test_what_the_loss_refuses_stops_the_training(tmp_path: Path) -> None:
    learner = Learner(torch.nn.Linear(6, 3), BatchOTLoss())
    with torch.no_grad():
        learner.network.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        trainer(tmp_path, max_epochs=1).fit(learner, loader(32, 0))
