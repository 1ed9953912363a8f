"""Filters of several sizes side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.geometry import Size
from placewise.layers import Layer
from placewise.layers._windows import Each, each
from placewise.layers.convolution import Convolution
from placewise.paddings import PADDINGS


class MultiScale(Layer):
    """Convolutions of several sizes on the same maps, their results joined as channels.

    As a first layer it sees fine and coarse features at once, the idea of the Inception module
    ("Going Deeper with Convolutions", Szegedy et al., CVPR 2015), without its reductions and its
    pooling branch.

    Args:
        in_channels: of the maps that it reads.
        out_channels: of the maps that it gives, shared out evenly; the first get what is over.
        kernel_sizes: of the windows, one for each branch.
        stride: from one window to the next.
        padding_mode: member of `PADDINGS` that keeps the size.
        spatial_dims: 1, 2 or 3 axes.

    Example:
        >>> layer = MultiScale(3, 16, kernel_sizes=(3, 5, 7))
        >>> [branch.out_channels for branch in layer.branches]
        [6, 5, 5]
        >>> layer(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 16, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int] = (1, 3, 5),
        stride: Each = 1,
        padding_mode: str = "zeros",
        *,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if not PADDINGS[padding_mode].keeps_size:
            raise SettingsError(
                f"with the padding rule '{padding_mode}' windows of several sizes give maps of "
                "several sizes, which cannot be joined; use a rule that keeps the size, e.g. "
                "'symmetric'"
            )
        if not 1 <= len(kernel_sizes) <= out_channels:
            raise SettingsError(
                f"kernel_sizes has {len(kernel_sizes)} entries and out_channels is {out_channels}; "
                "each size needs at least one"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.spatial_dims, self.stride = spatial_dims, each(stride, spatial_dims, "stride")
        share, over = divmod(out_channels, len(kernel_sizes))
        self.branches = nn.ModuleList(
            Convolution(
                in_channels,
                share + (number < over),
                kernel_size,
                stride,
                padding_mode=padding_mode,
                spatial_dims=spatial_dims,
            )
            for number, kernel_size in enumerate(kernel_sizes)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, out_channels, *size_after) of maps (batch, in_channels, *size)."""
        self.check(maps)
        return torch.cat([branch(maps) for branch in self.branches], 1)

    def size_after(self, size: Sequence[int]) -> Size:
        """How many windows there are along each axis; of all sizes as many."""
        return tuple(-(-n // stride) for n, stride in zip(size, self.stride, strict=True))
