"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples each time: what passes here passes elsewhere. `--hypothesis-profile=random` looks for new ones.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("random")
settings.load_profile("fixed")

DIGITS_TWICE = """
name: digits-twice
epochs: 2
towers:
  left:
    data: {name: digits, limit: 200}
    model: {name: cnn, backbone: resnet10-w4, widths: [16, 8], batch_norm: true}
    batch: {size: 20}
  right:
    data: {name: digits, limit: 200}
    model: {name: cnn, backbone: resnet10-w4, widths: [16, 8], batch_norm: true}
    batch: {size: 30}
together: {gallery: test}
batch: {classes_per_batch: 10, sampler: balanced}
loss: {name: batch-ot, cross_entropy_weight: 0.2, head: cosine}
optim: {name: adamw, lr: 0.005}
evaluation: {recalibrate: 2}
"""


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the checkout; a test that needs it is skipped where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside this checkout")
    return folder


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """24 embeddings of 5 unequal classes in 7 dimensions."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 5, (24,), generator=generator)
    return torch.randn(24, 7, generator=generator) + 0.5 * labels.unsqueeze(1), labels


@pytest.fixture(scope="session")
def digits_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a recipe, not to be changed: two networks see the same digits, trained in seconds."""
    file = tmp_path_factory.mktemp("recipe") / "digits-twice.yaml"
    file.write_text(DIGITS_TWICE)
    return file
