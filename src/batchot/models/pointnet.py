"""PointNet: the same network on every point, then the maximum over the points."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from batchot.models.point_ops import PointLayer, check_clouds


class PointNet(nn.Module):
    r"""Layers shared by all points and the maximum over them, so that their order does not matter.

    .. math:: f(x) = \max_i\, h(A_2\, g(A_1 x_i))

    ``g`` has widths 64, 64 and ``h`` 64, 128, ``out_features``. :math:`A_1, A_2` are the identity, or, with
    ``t_nets``, matrices that two small networks of the same kind find for each cloud.

    Args:
        in_channels: coordinates of a point; more than 3 where it has a normal, say.
        out_features: length of the feature vector.
        t_nets: align the coordinates and the features by learned matrices, as the original does.

    Attributes:
        out_features: length of the feature vector.

    Raises:
        ValueError: on sizes below 1, and in ``forward`` on another shape or no point.

    Source:
        C. Qi et al., "PointNet: deep learning on point sets for 3D classification and segmentation", CVPR 2017.

    Example:
        >>> import torch
        >>> from batchot.models import PointNet
        >>> backbone = PointNet(out_features=256)
        >>> backbone(torch.randn(2, 100, 3)).shape
        torch.Size([2, 256])
    """

    def __init__(self, in_channels: int = 3, out_features: int = 1024, t_nets: bool = False) -> None:
        super().__init__()
        if min(in_channels, out_features) < 1:
            raise ValueError(
                f"in_channels and out_features must be at least 1, got {in_channels} and {out_features}"
            )
        self.in_channels = in_channels
        self.out_features = out_features
        self.align_points = TNet(in_channels) if t_nets else None
        self.local = nn.Sequential(PointLayer(in_channels, 64), PointLayer(64, 64))
        self.align_features = TNet(64) if t_nets else None
        self.wide = nn.Sequential(PointLayer(64, 64), PointLayer(64, 128), PointLayer(128, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(b, out_features)`` of clouds ``(b, p, in_channels)``."""
        return self.features_and_transform(x)[0]

    def features_and_transform(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """As ``forward``, and the matrices :math:`A_2` ``(b, 64, 64)``, None without ``t_nets``.

        The original adds 0.001 times ``orthogonality_penalty`` of them to its loss.
        """
        check_clouds(x, self.in_channels)
        if self.align_points is not None:
            x = x @ self.align_points(x)
        x = self.local(x)
        A = None
        if self.align_features is not None:
            A = self.align_features(x)
            x = x @ A
        return self.wide(x).max(1).values, A


class TNet(nn.Module):
    """A square matrix for each cloud, the identity at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.points = nn.Sequential(PointLayer(channels, 64), PointLayer(64, 128), PointLayer(128, 1024))
        self.cloud = nn.Sequential(PointLayer(1024, 512), PointLayer(512, 256))
        self.matrix = nn.Linear(256, channels * channels)
        nn.init.zeros_(self.matrix.weight)
        nn.init.zeros_(self.matrix.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Matrices ``(b, channels, channels)`` of clouds ``(b, p, channels)``."""
        matrices = self.matrix(self.cloud(self.points(x).max(1).values))
        identity = torch.eye(self.channels, dtype=matrices.dtype, device=matrices.device)
        return matrices.unflatten(1, (self.channels, self.channels)) + identity


def orthogonality_penalty(A: Tensor) -> Tensor:
    r"""How far matrices are from orthogonal, the mean over them.

    .. math:: \| I - A A^\top \|_F^2

    Args:
        A: matrices ``(b, c, c)``.

    Returns:
        A scalar, 0 if and only if all are orthogonal.

    Raises:
        ValueError: on another shape.

    Source:
        Qi et al., CVPR 2017, eq. 2.

    Example:
        >>> import torch
        >>> from batchot.models import orthogonality_penalty
        >>> orthogonality_penalty(2 * torch.eye(3).unsqueeze(0))
        tensor(27.)
    """
    if A.ndim != 3 or A.shape[1] != A.shape[2]:
        raise ValueError(f"expected square matrices of shape (b, c, c), got {tuple(A.shape)}")
    identity = torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
    return (identity - A @ A.transpose(1, 2)).square().sum(dim=(1, 2)).mean()
