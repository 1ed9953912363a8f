"""Blur before taking every second place, so that a shift of the image changes little."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from placewise.layers import Layer, Sides
from placewise.layers._windows import Each, Windows, filtered
from placewise.layers.pooling import Pooling


class BlurPool(Layer):
    """A binomial filter, then every `stride`-th place.

    The filter of k places is the row C(k−1, i) / 2^(k−1) of Pascal's triangle along each axis:
    "Making Convolutional Networks Shift-Invariant Again" (Zhang, ICML 2019). With `maximum` it
    stands for a maximum pooling: the maximum of all windows first, without stride, then the blur. A
    constant map stays constant with every rule but `zeros` and `full`.

    For sides that are even, an even `size` at stride 2 treats both ends of an axis alike.

    Args:
        channels: of the maps.
        size: places of the filter along each axis.
        dimensions: 1, 2 or 3 axes.
        stride: from one place that is taken to the next.
        maximum: side of the windows whose maximum is taken first; 1 for none.
        padding: member of `PADDINGS`.

    Example:
        >>> blur = BlurPool(1, 3, dimensions=1, padding="replicate")
        >>> blur(torch.tensor([[[0.0, 4.0, 0.0, 0.0, 4.0, 4.0]]]))
        tensor([[[1., 1., 3.]]])
    """

    kernel: torch.Tensor

    def __init__(
        self,
        channels: int,
        size: Each = 4,
        *,
        dimensions: int = 2,
        stride: Each = 2,
        maximum: int = 1,
        padding: str = "symmetric",
    ) -> None:
        super().__init__()
        self.channels = self.out_channels = channels
        self.dimensions = dimensions
        self.windows = Windows(dimensions, size, stride=stride, padding=padding, channels=channels)
        self.maximum: Pooling | None = None
        if maximum > 1:
            self.maximum = Pooling(
                channels, maximum, dimensions=dimensions, stride=1, padding=padding
            )
        kernel = torch.ones(())
        for taps in self._taps():
            kernel = kernel[..., None] * taps
        self.register_buffer("kernel", kernel, persistent=False)

    def _taps(self) -> list[torch.Tensor]:
        """The filter along each axis; its sum is 1."""
        return [
            torch.tensor([math.comb(k - 1, i) / 2 ** (k - 1) for i in range(k)])
            for k in self.windows.size
        ]

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *sides_after) of maps (batch, channels, *sides)."""
        self.check(maps)
        if self.maximum is not None:
            maps = self.maximum(maps)
        blurred = filtered(maps, self.kernel, self.windows)
        if self.windows.rule.renormalises:
            blurred = blurred * self.windows.shares(maps, self._taps())
        return blurred

    def sides_after(self, sides: Sequence[int]) -> Sides:
        """How many places are taken along each axis."""
        if self.maximum is not None:
            sides = self.maximum.sides_after(sides)
        return self.windows.sides_after(sides)
