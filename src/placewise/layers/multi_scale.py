"""Filters of several sizes side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.layers import Layer, Sides
from placewise.layers._windows import Each, each
from placewise.layers.convolution import Convolution
from placewise.paddings import PADDINGS


class MultiScale(Layer):
    """Convolutions of several sizes on the same maps, their results joined as channels.

    As a first layer it sees fine and coarse features at once, the idea of the Inception module
    ("Going Deeper with Convolutions", Szegedy et al., CVPR 2015), without its reductions and its
    pooling branch.

    Args:
        channels: of the maps that it reads.
        out_channels: of the maps that it gives, shared out evenly; the first get what is over.
        sizes: of the windows, one for each branch.
        dimensions: 1, 2 or 3 axes.
        stride: from one window to the next.
        padding: member of `PADDINGS` that keeps the size.

    Example:
        >>> layer = MultiScale(3, 16, sizes=(3, 5, 7))
        >>> [branch.out_channels for branch in layer.branches]
        [6, 5, 5]
        >>> layer(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 16, 32, 32])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        sizes: Sequence[int] = (1, 3, 5),
        dimensions: int = 2,
        stride: Each = 1,
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        if not PADDINGS[padding].keeps_size:
            raise SettingsError(
                f"with the padding rule '{padding}' windows of several sizes give maps of several "
                "sizes, which cannot be joined; use a rule that keeps the size, e.g. 'symmetric'"
            )
        if not 1 <= len(sizes) <= out_channels:
            raise SettingsError(
                f"sizes has {len(sizes)} entries and there are {out_channels} output channels; "
                "each size needs at least one"
            )
        self.channels, self.out_channels = channels, out_channels
        self.dimensions, self.stride = dimensions, each(stride, dimensions, "stride")
        share, over = divmod(out_channels, len(sizes))
        self.branches = nn.ModuleList(
            Convolution(
                channels,
                share + (number < over),
                size,
                dimensions=dimensions,
                stride=stride,
                padding=padding,
            )
            for number, size in enumerate(sizes)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, out_channels, *sides_after) of maps (batch, channels, *sides)."""
        return torch.cat([branch(maps) for branch in self.branches], 1)

    def sides_after(self, sides: Sequence[int]) -> Sides:
        """How many windows there are along each axis; of all sizes as many."""
        return tuple(-(-n // stride) for n, stride in zip(sides, self.stride, strict=True))
