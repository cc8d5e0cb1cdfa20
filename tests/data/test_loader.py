"""Batches: a function of seed, epoch and number, resumed anywhere, also by Lightning."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from batchot.data import (
    Augmentation,
    BalancedBatches,
    EvaluationBatches,
    Images,
    Normalization,
    PlainBatches,
    Preparation,
    TrainingBatches,
)

IMAGES = Images(
    torch.randint(0, 256, (40, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(40) % 4,
    ("a", "b", "c", "d"),
)
NORMALIZATION = Normalization.from_pixels(IMAGES.images)
PREPARE = Preparation(NORMALIZATION)

Batch = tuple[Tensor, Tensor]


def make(seed: int = 0, balanced: bool = False, batch_size: int = 8, ahead: int = 2) -> TrainingBatches:
    sampler = BalancedBatches(IMAGES.labels, batch_size, 4) if balanced else PlainBatches(40, batch_size)
    augmentation = Augmentation(flip=True, max_shift=1, cutout=2)
    return TrainingBatches(IMAGES, sampler, Preparation(NORMALIZATION, augmentation), seed=seed, ahead=ahead)


def same(a: Iterable[Batch], b: Iterable[Batch]) -> bool:
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True))


@pytest.mark.parametrize("balanced", [False, True])
def test_function_of_seed_and_epoch(balanced: bool) -> None:
    first, second = make(balanced=balanced), make(balanced=balanced)
    epochs = [list(first) for _ in range(3)]
    torch.manual_seed(1)
    second.set_epoch(2)
    assert same(second, epochs[2])
    second.set_epoch(0)
    assert same(second, epochs[0])
    assert not same(epochs[0], epochs[1])
    assert not same(make(seed=1, balanced=balanced), epochs[0])


def test_batches_are_the_images_that_the_sampler_names() -> None:
    sampler = PlainBatches(40, 7, drop_last=False)
    batches = TrainingBatches(IMAGES, sampler, PREPARE, seed=5)
    assert len(batches) == 6
    for (x, y), indices in zip(batches, sampler.epoch(5, 0), strict=True):
        assert x.dtype == torch.float32
        assert torch.equal(x, NORMALIZATION(IMAGES.images[indices]))
        assert torch.equal(y, IMAGES.labels[indices])


def test_augmentation_differs_between_epochs_and_batches() -> None:
    one = Images(IMAGES.images[:1].expand(40, -1, -1, -1), IMAGES.labels, IMAGES.classes)
    batches = TrainingBatches(
        one, PlainBatches(40, 20), Preparation(NORMALIZATION, Augmentation(max_shift=2))
    )
    (a, _), (b, _) = batches
    (c, _), _ = batches
    assert not torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("ahead", [1, 7])
def test_what_is_made_ahead_is_the_same(ahead: int) -> None:
    one_by_one, batches = make(ahead=0), make(ahead=ahead)
    for _ in range(2):
        assert same(batches, list(one_by_one))
    stream = iter(batches)
    next(stream)
    assert batches.state_dict() == {"epoch": 2, "batch": 1}
    assert batches.waited > 0


def test_set_epoch_repeats_a_pass() -> None:
    batches = make()
    batches.set_epoch(3)
    first = list(batches)
    batches.set_epoch(3)
    assert same(batches, first)


def test_a_pass_that_was_left_is_over() -> None:
    batches = make()
    next(iter(batches))
    other = make()
    other.set_epoch(1)
    assert same(batches, other)


@pytest.mark.parametrize("k", range(6))
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("say_epoch", [False, True])
def test_resumed_anywhere(k: int, epoch: int, say_epoch: bool) -> None:
    undisturbed = make()
    undisturbed.set_epoch(epoch)
    expected = list(undisturbed) + list(undisturbed)

    interrupted = make()
    interrupted.set_epoch(epoch)
    stream = iter(interrupted)
    before = [next(stream) for _ in range(k)]
    state = interrupted.state_dict()
    assert state == {"epoch": epoch, "batch": k}

    resumed = make()
    resumed.load_state_dict(state)
    if say_epoch:
        resumed.set_epoch(epoch if k < 5 else epoch + 1)
    after = list(resumed)
    after += list(resumed) if k < 5 else []
    assert same(before + after, expected)


def test_another_epoch_than_the_state_starts_from_its_beginning() -> None:
    batches = make()
    batches.load_state_dict({"epoch": 0, "batch": 3})
    batches.set_epoch(1)
    assert len(list(batches)) == 5


def test_state_of_another_loader() -> None:
    with pytest.raises(ValueError, match=r"from batch 5 of epoch 0: an epoch has 4 batches here"):
        make(batch_size=10).load_state_dict({"epoch": 0, "batch": 5})


def test_negative_numbers() -> None:
    with pytest.raises(ValueError, match=r"seed must be at least 0, got -1"):
        make(seed=-1)
    with pytest.raises(ValueError, match=r"epoch must be at least 0, got -2"):
        make().set_epoch(-2)


class Recorder(LightningModule):
    """Trains on nothing much, notes the batches, and stops as if killed after a number of them."""

    def __init__(self, killed_after: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 1)
        self.batches: list[Batch] = []
        self.killed_after = killed_after

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.batches.append(batch)
        return self.layer(batch[0].flatten(1)).square().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pass

    def on_train_batch_end(self, *arguments: object) -> None:
        if len(self.batches) == self.killed_after:
            raise KeyboardInterrupt

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def fit(
    folder: Path, killed_after: int | None = None, resume: Path | None = None, limit: int | None = None
) -> Recorder:
    torch.manual_seed(3 if resume is None else 4)  # what is resumed owes nothing to how it began
    module = Recorder(killed_after)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_train_batches=limit,
        default_root_dir=folder,
        callbacks=[ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=-1, filename="{step}")],
    )
    with warnings.catch_warnings():
        # Of Lightning, about loaders with too few worker processes or in its own use of PyTorch.
        warnings.simplefilter("ignore")
        validation = EvaluationBatches(IMAGES, PREPARE, batch_size=16)
        try:
            trainer.fit(module, make(), validation, ckpt_path=resume, weights_only=False)
        except (KeyboardInterrupt, SystemExit):
            assert killed_after is not None
    return module


@pytest.mark.parametrize("limit", [None, 3])
def test_lightning_goes_on_as_if_undisturbed(tmp_path: Path, limit: int | None) -> None:
    undisturbed = fit(tmp_path, limit=limit)
    steps = 3 * (limit or 5)
    assert len(undisturbed.batches) == steps
    epochs = make()
    expected = [batch for _ in range(3) for batch in list(epochs)[:limit]]
    assert same(undisturbed.batches, expected)
    for step in range(1, steps):
        folder = tmp_path / f"resumed {step}"
        resumed = fit(folder, resume=tmp_path / f"step={step}.ckpt", limit=limit)
        assert same(resumed.batches, expected[step:]), f"resumed after step {step}"
        assert torch.equal(resumed.layer.weight, undisturbed.layer.weight), f"resumed after step {step}"


def test_lightning_interrupted_and_resumed(tmp_path: Path) -> None:
    undisturbed = fit(tmp_path / "a")
    interrupted = fit(tmp_path / "b", killed_after=8)
    assert len(interrupted.batches) == 8
    last = max((tmp_path / "b").glob("*.ckpt"), key=lambda path: int(path.stem.removeprefix("step=")))
    resumed = fit(tmp_path / "c", resume=last)
    done = int(last.stem.removeprefix("step="))
    assert same(resumed.batches, undisturbed.batches[done:])
    assert torch.equal(resumed.layer.weight, undisturbed.layer.weight)


def test_evaluation_batches() -> None:
    batches = EvaluationBatches(IMAGES, PREPARE, batch_size=16)
    assert len(batches) == 3
    for _ in range(2):
        x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert torch.equal(x, NORMALIZATION(IMAGES.images))
        assert torch.equal(y, IMAGES.labels)
    assert [len(y) for _, y in batches] == [16, 16, 8]
    with pytest.raises(ValueError, match=r"batch_size must be at least 1, got 0"):
        EvaluationBatches(IMAGES, PREPARE, batch_size=0)
