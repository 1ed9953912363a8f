"""A convolution that takes any padding rule."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.layers._windows import CONVOLUTIONS, Each, Padding, WindowLayer, Windows, ones


class Convolution(WindowLayer):
    """A convolution with a padding rule by name; with torch's own rules it is torch's own.

    y_o(p) = b_o + Σ_c Σ_t w_oc(t) · x_c(p·stride + t·dilation − margin), x padded by the rule.
    Weights and biases have the names, the shapes and the first values that they have in
    `torch.nn.Conv2d`, so that the same file of weights fits both.

    Args:
        in_channels: of the maps that it reads.
        out_channels: of the maps that it gives.
        kernel_size: places of a window along each axis.
        stride: from one window to the next.
        padding: places to add: as many on all sides, for each axis, or (before, after) for each.
            None: as many as the rule does, enough for results of the map's size (at stride 1),
            but none with `valid` and one fewer than the window with `full`.
        dilation: from one place of a window to the next.
        groups: the channels fall into so many groups that do not read each other.
        bias: whether to add a number to each channel.
        padding_mode: member of `PADDINGS`: what stands beyond the border.
        spatial_dims: 1, 2 or 3 axes.

    Example:
        >>> Convolution(3, 8, 5, padding_mode="symmetric")(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 8, 32, 32])
        >>> Convolution(3, 8, 5, padding_mode="full", spatial_dims=1)(torch.zeros(1, 3, 32)).shape
        torch.Size([1, 8, 36])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Each,
        stride: Each = 1,
        padding: Padding = None,
        dilation: Each = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        spatial_dims: int = 2,
    ) -> None:
        check_groups(in_channels, out_channels, groups)
        windows = Windows(
            spatial_dims, kernel_size, stride, padding, dilation, padding_mode, in_channels
        )
        super().__init__(in_channels, out_channels, windows)
        self.groups = groups
        shape = (out_channels, in_channels // groups, *self.windows.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def of(
        cls,
        convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d,
        padding_mode: str,
        padding: Padding = None,
    ) -> Convolution:
        """A copy of torch's convolution with another padding rule.

        Args:
            convolution: what is copied, but for its own padding.
            padding_mode: member of `PADDINGS`.
            padding: places to add; None: as many as the rule does.

        Example:
            >>> Convolution.of(torch.nn.Conv2d(3, 8, 3, padding=1), "partial").windows.padding_mode
            'partial'
        """
        weight = convolution.weight.detach()
        copy = cls(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,
            convolution.stride,
            padding,
            convolution.dilation,
            convolution.groups,
            convolution.bias is not None,
            padding_mode,
            spatial_dims=weight.ndim - 2,
        ).to(weight)
        state = {name: value.detach().clone() for name, value in convolution.named_parameters()}
        copy.load_state_dict(state, strict=not list(copy.windows.parameters()))
        return copy

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, out_channels, *size_after) of maps (batch, channels, *size)."""
        self.check(maps)
        windows, convolve = self.windows, CONVOLUTIONS[self.spatial_dims - 1]
        settings = (windows.dilation, self.groups)
        if windows.rule.renormalises:
            padded = windows.pad(maps)
            result = convolve(padded, self.weight, None, windows.stride, 0, *settings)
            result = result * windows.shares(maps, ones(windows.kernel_size))
            if self.bias is None:
                return result
            return result + self.bias.view(-1, *[1] * self.spatial_dims)
        if windows.rule.adds_zeros and windows.same is not None and not self._too_flat(maps):
            windows.size_after(maps.shape[2:])
            return convolve(maps, self.weight, self.bias, windows.stride, windows.same, *settings)
        return convolve(windows.pad(maps), self.weight, self.bias, windows.stride, 0, *settings)

    def _too_flat(self, maps: Tensor) -> bool:
        """Whether torch would get the gradient of the weights wrong if it added the zeros itself.

        It does so on a CPU, in bfloat16, where a window of a volume is deeper than the map: what
        nobody has written in memory is added, often nan (torch 2.13 with oneDNN 3.12).
        """
        lower = torch.is_autocast_enabled("cpu") or maps.dtype == torch.bfloat16
        if self.spatial_dims < 3 or not lower or maps.device.type != "cpu":
            return False
        return maps.shape[2] < self.windows.extents[0]  # asked last: a file would need the depth


def check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    """Refuse channels that do not fall into groups.

    Raises:
        SettingsError: a number is less than 1 or does not divide.
    """
    if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
        raise SettingsError(
            f"in_channels is {in_channels}, out_channels {out_channels} and groups {groups}; each "
            "must be 1 or more, and groups must divide both numbers of channels"
        )
