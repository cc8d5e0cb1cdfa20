from __future__ import annotations

import math

import pytest
import torch

from batchot import BatchOTLoss, JointLoss, batch_ot_loss, plan_report
from batchot.losses import BatchOTSettings
from batchot.transport import ground_distance, sinkhorn


def test_report_equals_the_plan(batch) -> None:
    x, labels = batch
    settings = BatchOTSettings(lam=6.0, gamma=4.0)
    report = plan_report(x, labels, settings=settings)
    M, D = ground_distance(torch.nn.functional.normalize(x.double()), labels, gamma=4.0)
    off = ~torch.eye(24, dtype=torch.bool)
    T = sinkhorn(D, 6.0, mask=~off).coupling
    assert report.violated_mass == pytest.approx(float(T[(M > 0) & off].sum()), abs=1e-5)
    assert report.violated_pairs == pytest.approx(float((M > 0)[off].double().mean()), abs=1e-6)
    assert report.positive_mass == pytest.approx(float(T[labels[:, None] == labels].sum()), abs=1e-5)
    assert report.entropy == pytest.approx(float(-(T[off] * T[off].log()).sum()), abs=1e-5)
    assert report.effective_pairs == pytest.approx(math.exp(report.entropy))
    assert report.marginal_error <= 1e-6 and report.iterations > 1
    # The point of the method: violated pairs carry more than their share.
    assert report.violated_mass > report.violated_pairs


def test_report_of_the_uniform_plan(batch) -> None:
    x, labels = batch
    report = plan_report(x, labels, settings=BatchOTSettings(plan="uniform"))
    assert report.violated_mass == pytest.approx(report.violated_pairs, abs=1e-6)
    assert report.effective_pairs == pytest.approx(24 * 23, rel=1e-5)


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
