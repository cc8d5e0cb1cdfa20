from __future__ import annotations

import pytest
import torch

from batchot import BatchOTLoss, JointLoss, batch_ot_loss


def test_joint_loss_is_the_sum(batch) -> None:
    x, labels = batch
    logits = torch.randn(24, 5, generator=torch.Generator().manual_seed(1))
    entropy = torch.nn.functional.cross_entropy(logits, labels)
    joint = JointLoss(BatchOTLoss(), 0.2)
    assert joint(x, logits, labels).item() == pytest.approx((batch_ot_loss(x, labels) + 0.2 * entropy).item())
    with torch.autocast("cpu", torch.bfloat16):
        assert joint(x, logits.bfloat16(), labels).dtype == torch.float32
    with pytest.raises(ValueError, match="weight must be at least 0, got -1"):
        JointLoss(BatchOTLoss(), -1)
    with pytest.raises(ValueError, match=r"logits must have shape \(24, classes\), got \(3, 5\)"):
        joint(x, logits[:3], labels)


def test_doubles_stay_doubles(batch) -> None:
    x, labels = batch
    logits = torch.randn(24, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    joint = JointLoss(BatchOTLoss(), 1.0)(x.double(), logits, labels)
    entropy = joint - batch_ot_loss(x.double(), labels)
    right = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(entropy, right, rtol=0, atol=1e-13)
