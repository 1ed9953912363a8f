"""Maximum and average over windows, with any padding rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.layers import Layer, Sides
from placewise.layers._windows import Each, Windows, ones

Kind = Literal["maximum", "average"]

MAXIMA = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
AVERAGES = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


class Pooling(Layer):
    """The largest, or the mean, of each window.

    With `partial` only what is there counts: `torch.nn.MaxPool2d(k, padding=p)` is that, and an
    average without `count_include_pad`. With `zeros` the zeros are values like others, as in
    `torch.nn.AvgPool2d(k, padding=p)`.

    Args:
        channels: of the maps.
        size: places of a window along each axis.
        dimensions: 1, 2 or 3 axes.
        stride: from one window to the next; as long as the window where None.
        kind: "maximum" or "average".
        padding: member of `PADDINGS`.

    Example:
        >>> Pooling(1, 2, dimensions=1)(torch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
        tensor([[[3., 2.]]])
        >>> average = Pooling(1, 3, dimensions=1, stride=1, kind="average", padding="partial")
        >>> average(torch.tensor([[[1.0, 3.0, 2.0]]]))
        tensor([[[2.0000, 2.0000, 2.5000]]])
    """

    def __init__(
        self,
        channels: int,
        size: Each,
        *,
        dimensions: int = 2,
        stride: Each | None = None,
        kind: Kind = "maximum",
        padding: str = "valid",
    ) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise SettingsError(f"kind is '{kind}'; it must be one of {get_args(Kind)}")
        self.channels = self.out_channels = channels
        self.dimensions, self.kind = dimensions, kind
        stride = size if stride is None else stride
        self.windows = Windows(dimensions, size, stride=stride, padding=padding, channels=channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *sides_after) of maps (batch, channels, *sides)."""
        self.check(maps)
        windows = self.windows
        if self.kind == "maximum":
            padded = windows.pad(maps, absent=-torch.inf)
            largest: torch.Tensor = MAXIMA[self.dimensions - 1](
                padded, windows.size, windows.stride
            )
            return largest
        wide = windows.pad(maps).to(torch.promote_types(maps.dtype, torch.float32))
        means: torch.Tensor = AVERAGES[self.dimensions - 1](wide, windows.size, windows.stride)
        means = means.to(maps.dtype)
        if windows.rule.renormalises:
            means = means * windows.shares(maps, ones(windows.size))
        return means

    def sides_after(self, sides: Sequence[int]) -> Sides:
        """How many windows there are along each axis."""
        return self.windows.sides_after(sides)
