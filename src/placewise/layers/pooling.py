"""Maximum and average over windows, with any padding rule."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.layers._windows import Each, Padding, WindowLayer, Windows, ones

Kind = Literal["maximum", "average"]

MAXIMA = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
AVERAGES = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


class Pooling(WindowLayer):
    """The largest, or the mean, of each window.

    With `partial` only what is there counts: `torch.nn.MaxPool2d(k, padding=p)` is that, and an
    average without `count_include_pad`. With `zeros` the zeros are values like others, as in
    `torch.nn.AvgPool2d(k, padding=p)`.

    Args:
        in_channels: of the maps.
        kernel_size: places of a window along each axis.
        stride: from one window to the next; as long as the window where None.
        padding: places to add; None: as many as the rule does, see `Convolution`.
        padding_mode: member of `PADDINGS`.
        kind: "maximum" or "average".
        spatial_dims: 1, 2 or 3 axes.

    Example:
        >>> Pooling(1, 2, spatial_dims=1)(torch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
        tensor([[[3., 2.]]])
        >>> average = Pooling(1, 3, 1, padding_mode="partial", kind="average", spatial_dims=1)
        >>> average(torch.tensor([[[1.0, 3.0, 2.0]]]))
        tensor([[[2.0000, 2.0000, 2.5000]]])
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: Each,
        stride: Each | None = None,
        padding: Padding = None,
        padding_mode: str = "valid",
        *,
        kind: Kind = "maximum",
        spatial_dims: int = 2,
    ) -> None:
        if kind not in get_args(Kind):
            raise SettingsError(f"kind is '{kind}'; it must be one of {get_args(Kind)}")
        stride = kernel_size if stride is None else stride
        windows = Windows(spatial_dims, kernel_size, stride, padding, 1, padding_mode, in_channels)
        super().__init__(in_channels, in_channels, windows)
        self.kind = kind

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, *size_after) of maps (batch, channels, *size)."""
        self.check(maps)
        windows = self.windows
        if self.kind == "maximum":
            padded = windows.pad(maps, absent=-torch.inf)
            largest: Tensor = MAXIMA[self.spatial_dims - 1](
                padded, windows.kernel_size, windows.stride
            )
            return largest
        wide = windows.pad(maps).to(torch.promote_types(maps.dtype, torch.float32))
        means: Tensor = AVERAGES[self.spatial_dims - 1](wide, windows.kernel_size, windows.stride)
        means = means.to(maps.dtype)
        if windows.rule.renormalises:
            means = means * windows.shares(maps, ones(windows.kernel_size))
        return means
