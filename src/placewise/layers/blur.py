"""Blur before taking every second place, so that a shift of the image changes little."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from placewise.geometry import Size
from placewise.layers._windows import Each, Padding, WindowLayer, Windows, filtered
from placewise.layers.pooling import Pooling


class BlurPool(WindowLayer):
    """A binomial filter, then every `stride`-th place.

    The filter of k places is the row C(k−1, i) / 2^(k−1) of Pascal's triangle along each axis:
    "Making Convolutional Networks Shift-Invariant Again" (Zhang, ICML 2019). With `maximum` it
    stands for a maximum pooling: the maximum of all windows first, without stride, then the blur. A
    constant map stays constant with every rule but `zeros` and `full`.

    For sizes that are even, an even `kernel_size` at stride 2 treats both ends of an axis alike.

    Args:
        in_channels: of the maps.
        kernel_size: places of the filter along each axis.
        stride: from one place that is taken to the next.
        padding: places to add; None: as many as the rule does, see `Convolution`.
        padding_mode: member of `PADDINGS`.
        maximum: side of the windows whose maximum is taken first; 1 for none.
        spatial_dims: 1, 2 or 3 axes.

    Example:
        >>> blur = BlurPool(1, 3, padding_mode="replicate", spatial_dims=1)
        >>> blur(torch.tensor([[[0.0, 4.0, 0.0, 0.0, 4.0, 4.0]]]))
        tensor([[[1., 1., 3.]]])
    """

    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        kernel_size: Each = 4,
        stride: Each = 2,
        padding: Padding = None,
        padding_mode: str = "symmetric",
        *,
        maximum: int = 1,
        spatial_dims: int = 2,
    ) -> None:
        windows = Windows(spatial_dims, kernel_size, stride, padding, 1, padding_mode, in_channels)
        super().__init__(in_channels, in_channels, windows)
        self.maximum: Pooling | None = None
        if maximum > 1:
            self.maximum = Pooling(
                in_channels, maximum, 1, padding_mode=padding_mode, spatial_dims=spatial_dims
            )
        kernel = torch.ones(())
        for taps in self._taps():
            kernel = kernel[..., None] * taps
        self.register_buffer("kernel", kernel, persistent=False)

    def _taps(self) -> list[Tensor]:
        """The filter along each axis; its sum is 1."""
        return [
            torch.tensor([math.comb(k - 1, i) / 2 ** (k - 1) for i in range(k)])
            for k in self.windows.kernel_size
        ]

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, *size_after) of maps (batch, channels, *size)."""
        self.check(maps)
        if self.maximum is not None:
            maps = self.maximum(maps)
        blurred = filtered(maps, self.kernel, self.windows)
        if self.windows.rule.renormalises:
            blurred = blurred * self.windows.shares(maps, self._taps())
        return blurred

    def size_after(self, size: Sequence[int]) -> Size:
        """How many places are taken along each axis."""
        if self.maximum is not None:
            size = self.maximum.size_after(size)
        return self.windows.size_after(size)
