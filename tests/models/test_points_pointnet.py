"""PointNet: formula, T-Nets, errors."""

from __future__ import annotations

import pytest
import torch

from batchot.models import PointNet, orthogonality_penalty


def test_maximum_over_points_one_by_one() -> None:
    torch.manual_seed(0)
    network = PointNet(out_features=16).eval()
    x = torch.randn(2, 9, 3)
    single = torch.stack([network(x[:, i : i + 1]) for i in range(9)])  # (p, b, f)
    torch.testing.assert_close(network(x), single.max(0).values)


def test_t_nets_start_as_the_identity() -> None:
    torch.manual_seed(0)
    network = PointNet(out_features=16, t_nets=True).eval()
    plain = PointNet(out_features=16).eval()
    own = network.state_dict()
    plain.load_state_dict({name: own[name] for name in plain.state_dict()})
    x = torch.randn(2, 9, 3)
    features, A = network.features_and_transform(x)
    torch.testing.assert_close(features, plain(x))
    assert torch.equal(A, torch.eye(64).expand(2, 64, 64))
    assert plain.features_and_transform(x)[1] is None


def test_penalty_by_loops_and_its_zero() -> None:
    torch.manual_seed(0)
    A = torch.randn(2, 3, 3)
    expected = 0.0
    for matrix in A.tolist():
        for i in range(3):
            for j in range(3):
                product = sum(matrix[i][m] * matrix[j][m] for m in range(3))
                expected += ((i == j) - product) ** 2 / 2
    assert orthogonality_penalty(A).item() == pytest.approx(expected, rel=1e-5)
    rotation = torch.linalg.qr(A.double()).Q
    assert orthogonality_penalty(rotation).item() == pytest.approx(0, abs=1e-20)
    with pytest.raises(ValueError, match=r"\(b, c, c\), got \(2, 3, 4\)"):
        orthogonality_penalty(torch.zeros(2, 3, 4))


def test_normals_beside_the_coordinates() -> None:
    assert PointNet(in_channels=6, out_features=16, t_nets=True)(torch.randn(2, 9, 6)).shape == (2, 16)


def test_parameters_are_those_of_the_original() -> None:
    widths = [p.shape for n, p in PointNet().named_parameters() if "linear" in n]
    assert widths == [(64, 3), (64, 64), (64, 64), (128, 64), (1024, 128)]


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match=r"at least 1, got 0 and 1024"):
        PointNet(in_channels=0)
