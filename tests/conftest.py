"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


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
