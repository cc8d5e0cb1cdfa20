"""Depth views of point clouds by tensor operations, which can go into an ONNX file."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from batchot.shapes.cameras import make_cameras


class SplatViews(nn.Module):
    r"""The views of :func:`batchot.shapes.splat.splat_depth`, bit by bit.

    Every point is a disc of one grey value; where several cover a pixel the nearest is seen, which is the brightest:
    :math:`y_k = \max_{i: \|k - c_i\| \le r} g_i`. So all discs are written by one scatter with the maximum, each as the
    pixels of a square around its centre, of which those outside of it bring 0, the background.

    Args:
        cameras: a name of :func:`batchot.shapes.cameras.make_cameras`
        size: height and width of a view, pixels
        radius: of a point, pixels
        margin: by what share the picture is wider than the unit sphere

    >>> SplatViews("box-6", 4, 0.8)(torch.zeros(1, 1, 3))[0, 0, 0].tolist()[1]
    [0.0, 128.0, 128.0, 0.0]
    """

    rotations: Tensor  # (v, 3, 3)
    around: Tensor  # (k, 2): rows and columns from the pixel of a centre

    def __init__(self, cameras: str, size: int, radius: float, margin: float = 0.0) -> None:
        super().__init__()
        seen = make_cameras(cameras)
        self.size = size
        # Rounded to single precision one by one, as the renderer does, whose pixels these have to be.
        rounded = torch.tensor(
            [
                0.0 if math.isinf(seen.distance) else 1 / seen.distance,
                1 / (seen.extent * (1 + margin)),
                radius,
            ],
            dtype=torch.float32,
        ).tolist()
        self.inverse_distance, self.inverse_extent, self.radius = rounded
        reach = math.ceil(radius + 0.5)
        steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
        self.register_buffer("around", torch.cartesian_prod(steps, steps), persistent=False)
        self.register_buffer("rotations", torch.from_numpy(seen.rotations).float(), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Give views (b, v, 1, size, size), grey values 0 .. 255, of clouds (b, p, 3)."""
        x, y, z = (points[:, None, :, k] for k in range(3))  # (b, 1, p)
        # Not a matrix product, which would add in another order and round otherwise.
        right, up, back = (
            self.rotations[:, k, 0, None] * x
            + self.rotations[:, k, 1, None] * y
            + self.rotations[:, k, 2, None] * z
            for k in range(3)
        )  # (b, v, p)
        # A number divided by a tensor would be rounded twice, as a reciprocal and a product.
        scale = torch.full_like(back, self.inverse_extent) / (1 - self.inverse_distance * back)
        column = (right * scale + 1) * (self.size / 2)
        row = (1 - up * scale) * (self.size / 2)
        grey = (128.5 + 127 * back).clamp(1, 255).floor()
        rows, dy, in_rows = self._covered(row, self.around[:, 0])  # (b, v, p, k)
        columns, dx, in_columns = self._covered(column, self.around[:, 1])
        seen = in_rows & in_columns & (dx * dx + dy * dy <= self.radius * self.radius)
        index = torch.where(seen, rows * self.size + columns, 0).to(torch.int64)
        values = torch.where(seen, grey.unsqueeze(3), 0)
        pixels = torch.zeros_like(values[:, :, :1, :1]).expand(-1, -1, self.size**2, 1).flatten(2)
        drawn = pixels.scatter_reduce(2, index.flatten(2), values.flatten(2), "amax", include_self=True)
        return drawn.unflatten(2, (1, self.size, self.size))

    def _covered(self, centre: Tensor, around: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels near centres, how far their middles are from them, and whether they are in the disc and picture."""
        pixel = centre.floor().unsqueeze(3) + around
        middle, centre = pixel + 0.5, centre.unsqueeze(3)
        inside = (middle >= centre - self.radius) & (middle <= centre + self.radius)
        return pixel, middle - centre, inside & (pixel >= 0) & (pixel < self.size)
