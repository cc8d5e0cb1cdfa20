"""Two and four gloo processes against one: losses, gradients and trained networks."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

import distributed_trainings as trainings
from batchot.data import load_mnist
from data.published_formats import idx_bytes
from distributed_trainings import RECORDED, RUNS, Trained
from process_group import run_in_group

IDX = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}


def real_mnist() -> Path | None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    return folder if (folder / "mnist").is_dir() else None


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 training and 200 test images of MNIST where it is at hand, else of blots, as its publisher packs them."""
    root = tmp_path_factory.mktemp("data")
    (root / "mnist").mkdir()
    random = np.random.default_rng(0)
    blots = random.integers(0, 256, (10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    for stem, n, part in (("train", 320, "train"), ("t10k", 200, "test")):
        if (where := real_mnist()) is not None:
            samples = getattr(load_mnist(where, download=False), part).subset(torch.arange(n))
            images, labels = samples.images[:, 0].numpy(), samples.labels.numpy()
        else:
            labels = random.integers(0, 10, n)
            images = (0.5 * blots[labels] + random.integers(0, 128, (n, 28, 28))).clip(0, 255)
        for kind, array in (("images", images), ("labels", labels)):
            content = gzip.compress(idx_bytes(array.astype(np.uint8)))
            (root / "mnist" / f"{stem}-{IDX[kind]}.gz").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def alone(mnist: Path, digits_twice: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    threads = torch.get_num_threads()
    try:
        return trainings.all_runs(tmp_path_factory.mktemp("alone"), mnist, digits_twice)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("count", [2, 4])
def test_ranks_train_the_network_of_one_process(
    count: int, alone: dict[str, Trained], mnist: Path, digits_twice: Path, tmp_path: Path
) -> None:
    ranks = run_in_group(count, trainings.all_runs, tmp_path, tmp_path / "runs", mnist, digits_twice)
    for name in ranks[0]:
        for rank in ranks:
            assert_same_steps(name, alone[name], rank[name])
            assert_same_result(name, alone[name], rank[name])


def assert_same_steps(name: str, expected: Trained, got: Trained) -> None:
    assert got.losses[:RECORDED] == pytest.approx(expected.losses[:RECORDED], rel=1e-5), name
    for step, (wanted, found) in enumerate(zip(expected.gradients, got.gradients, strict=True)):
        assert wanted.keys() == found.keys()
        for k, gradient in wanted.items():
            worst = (found[k] - gradient).abs().max()
            assert worst <= RUNS[name].gradients * gradient.abs().max(), f"{name}, step {step}, {k}: {worst}"


def assert_same_result(name: str, expected: Trained, got: Trained) -> None:
    """Weights differ by a small part of the way that they have gone, scores by next to nothing."""
    assert expected.weights.keys() == got.weights.keys()
    for k, wanted in expected.weights.items():
        if wanted.is_floating_point():
            way = (wanted - expected.start[k]).double().norm()
            apart = (wanted - got.weights[k]).double().norm()
            assert apart <= RUNS[name].weights * way, f"{name}, {k}: {apart} of {way}"
    for k, value in expected.row.items():
        if not isinstance(value, float):
            assert got.row[k] == value, f"{name}, {k}"
        else:
            assert got.row[k] == pytest.approx(value, rel=1e-2, abs=0.01), f"{name}, {k}"
