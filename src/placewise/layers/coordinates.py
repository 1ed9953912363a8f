"""Channels that say where each place is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from placewise.geometry import Size
from placewise.layers import Layer
from placewise.layers._windows import each


class Coordinates(Layer):
    """The maps, and for each axis a channel of its coordinate from −1 to 1, x first.

    A map spans −1 to 1 from edge to edge, so place i of n stands at (2i + 1)/n − 1, the centre of
    its pixel. A convolution after it is a CoordConv ("An Intriguing Failing of Convolutional Neural
    Networks", Liu et al., NeurIPS 2018, who put the centres of the outermost pixels at −1 and 1).

    Args:
        in_channels: of the maps.
        radius: whether to add the distance from the middle, √(x² + y² + …), as a last channel.
        spatial_dims: 1, 2 or 3 axes.

    Example:
        >>> Coordinates(1, spatial_dims=1)(torch.zeros(1, 1, 4))
        tensor([[[ 0.0000,  0.0000,  0.0000,  0.0000],
                 [-0.7500, -0.2500,  0.2500,  0.7500]]])
    """

    def __init__(self, in_channels: int, *, radius: bool = False, spatial_dims: int = 2) -> None:
        super().__init__()
        each(1, spatial_dims, "spatial_dims")
        self.in_channels, self.spatial_dims, self.radius = in_channels, spatial_dims, radius
        self.out_channels = in_channels + spatial_dims + radius

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, out_channels, *size) of maps (batch, channels, *size)."""
        self.check(maps)
        size, wide = maps.shape[2:], torch.promote_types(maps.dtype, torch.float32)
        axes = [(2 * torch.arange(n, dtype=wide, device=maps.device) + 1) / n - 1 for n in size]
        grids = list(torch.meshgrid(*axes, indexing="ij"))[::-1]
        if self.radius:
            grids.append(torch.stack(grids).square().sum(0).sqrt())
        places = torch.stack(grids).to(maps.dtype)
        return torch.cat((maps, places.expand(maps.shape[0], -1, *size)), 1)

    def size_after(self, size: Sequence[int]) -> Size:
        """The same."""
        return tuple(size)
