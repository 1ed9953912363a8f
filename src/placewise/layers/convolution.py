"""A convolution that takes any padding rule."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.layers import Layer, Sides
from placewise.layers._windows import CONVOLUTIONS, Each, Windows, ones


class Convolution(Layer):
    """A convolution with a padding rule by name; with torch's own rules it is torch's own.

    y_o(p) = b_o + Σ_c Σ_t w_oc(t) · x_c(p·stride + t·dilation − margin), x padded by the rule.
    Weights and biases have the names, the shapes and the first values that they have in
    `torch.nn.Conv2d`, so that the same file of weights fits both.

    Args:
        channels: of the maps that it reads.
        out_channels: of the maps that it gives.
        size: places of a window along each axis.
        dimensions: 1, 2 or 3 axes.
        stride: from one window to the next.
        dilation: from one place of a window to the next.
        groups: the channels fall into so many groups that do not read each other.
        bias: whether to add a number to each channel.
        padding: member of `PADDINGS`. The margin is the rule's: enough for results of the map's
            size (at stride 1), but for `valid` and `full`.

    Example:
        >>> Convolution(3, 8, 5, padding="symmetric")(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 8, 32, 32])
        >>> Convolution(3, 8, 5, dimensions=1, padding="full")(torch.zeros(1, 3, 32)).shape
        torch.Size([1, 8, 36])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        size: Each,
        *,
        dimensions: int = 2,
        stride: Each = 1,
        dilation: Each = 1,
        groups: int = 1,
        bias: bool = True,
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        check_groups(channels, out_channels, groups)
        self.channels, self.out_channels, self.dimensions = channels, out_channels, dimensions
        self.groups = groups
        self.windows = Windows(
            dimensions,
            size,
            stride=stride,
            dilation=dilation,
            padding=padding,
            channels=channels,
        )
        shape = (out_channels, channels // groups, *self.windows.size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def of(cls, convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d, padding: str) -> Convolution:
        """A copy of torch's convolution with another padding rule; its own margin is forgotten.

        Example:
            >>> Convolution.of(torch.nn.Conv2d(3, 8, 3, padding=1), "partial").windows.padding
            'partial'
        """
        weight = convolution.weight.detach()
        copy = cls(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,
            dimensions=weight.ndim - 2,
            stride=convolution.stride,
            dilation=convolution.dilation,
            groups=convolution.groups,
            bias=convolution.bias is not None,
            padding=padding,
        ).to(weight)
        state = {name: value.detach().clone() for name, value in convolution.named_parameters()}
        copy.load_state_dict(state, strict=not list(copy.windows.parameters()))
        return copy

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, out_channels, *sides_after) of maps (batch, channels, *sides)."""
        self.check(maps)
        windows, convolve = self.windows, CONVOLUTIONS[self.dimensions - 1]
        settings = (windows.dilation, self.groups)
        if windows.rule.renormalises:
            padded = windows.pad(maps)
            result = convolve(padded, self.weight, None, windows.stride, 0, *settings)
            result = result * windows.shares(maps, ones(windows.size))
            if self.bias is None:
                return result
            return result + self.bias.view(-1, *[1] * self.dimensions)
        if windows.rule.adds_zeros and windows.same is not None:
            windows.sides_after(maps.shape[2:])
            return convolve(maps, self.weight, self.bias, windows.stride, windows.same, *settings)
        return convolve(windows.pad(maps), self.weight, self.bias, windows.stride, 0, *settings)

    def sides_after(self, sides: Sequence[int]) -> Sides:
        """How many windows there are along each axis."""
        return self.windows.sides_after(sides)


def check_groups(channels: int, out_channels: int, groups: int) -> None:
    """Refuse channels that do not fall into groups.

    Raises:
        SettingsError: a number is less than 1 or does not divide.
    """
    if min(channels, out_channels, groups) < 1 or channels % groups or out_channels % groups:
        raise SettingsError(
            f"{channels} channels, {out_channels} output channels and {groups} groups; each must "
            "be 1 or more, and the groups must divide the channels"
        )
