"""The small net that this project began with: two convolutions, two poolings."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from placewise.backbones import AVERAGES, MAXIMA, Backbone, check_axes
from placewise.errors import SettingsError
from placewise.geometry import Size
from placewise.layers.convolution import Convolution
from placewise.paddings import PADDINGS

Pool = Literal["max", "average"]

WINDOW = 5
"""Places of a filter along each axis."""


class LeNet(Backbone):
    """Two 5×5 convolutions, each followed by a relu and a pooling over 2×2.

    At 32×32: 3 maps of 28×28, pooled to 14×14, 6 maps of 10×10, pooled to 5×5. With the head
    'flatten' and 10 classes these are 150 numbers to 100 units to 10, and 16,644 parameters for
    images of one channel. After LeNet-5 (LeCun et al., 1998), whose second filters also are
    volumes: 5×5×3, one slice for each map before.

    Windows stay inside, so that maps shrink and pixels at the edge are read less often; with
    another padding rule maps keep their size and place.

    Args:
        in_channels: channels of the image.
        spatial_dims: axes of the image: 1 for signals, 2 for images, 3 for volumes.
        width: maps of the first convolution; the second has twice as many.
        padding_mode: member of `PADDINGS` for both convolutions.
        pool: "max" or "average".

    Example:
        >>> net = LeNet(1)
        >>> net.size((32, 32)), net(torch.zeros(1, 1, 32, 32)).shape
        ((5, 5), torch.Size([1, 6, 5, 5]))
    """

    stride = 4
    multiple = 4
    receptive_field = 16

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int = 2,
        *,
        width: int = 3,
        padding_mode: str = "valid",
        pool: Pool = "max",
    ) -> None:
        super().__init__()
        check_axes(spatial_dims)
        if not 1 <= width <= 4096:
            raise SettingsError(f"width is {width}; it must be 1 to 4096")
        if pool not in get_args(Pool):
            raise SettingsError(f"pool is '{pool}'; it must be one of {', '.join(get_args(Pool))}")
        self.in_channels, self.spatial_dims = in_channels, spatial_dims
        self.out_channels, self.aligned = 2 * width, PADDINGS[padding_mode].keeps_size
        self.first = Convolution(
            in_channels, width, WINDOW, padding_mode=padding_mode, spatial_dims=spatial_dims
        )
        self.second = Convolution(
            width, 2 * width, WINDOW, padding_mode=padding_mode, spatial_dims=spatial_dims
        )
        self.pool = (MAXIMA if pool == "max" else AVERAGES)[spatial_dims - 1](2)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, out_channels, *size) features; see `Backbone.forward`."""
        self.check(images)
        maps = self.pool(torch.relu(self.first(images)))
        features: Tensor = self.pool(torch.relu(self.second(maps)))
        return features

    def size(self, image: Size) -> Size:
        """Size of the features; with windows that stay inside, n / 4 − 3.

        Raises:
            ShapeError: the image is smaller than the windows.
        """
        sides = tuple(image)
        for layer in (self.first, self.second):
            sides = tuple(side // 2 for side in layer.size_after(sides))
        return sides
