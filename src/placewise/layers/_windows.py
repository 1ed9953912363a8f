"""Windows over maps: size, stride, dilation and what stands beyond the border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.errors import SettingsError, ShapeError
from placewise.geometry import Size
from placewise.layers import Layer
from placewise.paddings import PADDINGS, Widths

CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)

Each = int | Sequence[int]
"""A number for each axis, or one for all."""

Padding = int | Sequence[int] | Widths | None
"""Places to add: on all sides alike, for each axis, (before, after) for each; None: the rule's."""


def each(value: Each, spatial_dims: int, name: str) -> Size:
    """A number for each axis, at least 1.

    Raises:
        SettingsError: not one for each, or less than 1.

    Example:
        >>> each(3, 2, "stride"), each((3, 5), 2, "stride")
        ((3, 3), (3, 5))
    """
    if spatial_dims not in (1, 2, 3):
        raise SettingsError(f"spatial_dims is {spatial_dims}; a layer has 1, 2 or 3 axes")
    numbers = (value,) * spatial_dims if isinstance(value, int) else tuple(value)
    if len(numbers) != spatial_dims or min(numbers) < 1:
        raise SettingsError(
            f"{name} is {value}; it must be a number of 1 or more, or {spatial_dims} of them, one "
            "for each axis"
        )
    return numbers


class Windows(nn.Module):
    """Windows of one size over maps that are padded by a rule.

    Args:
        spatial_dims: 1, 2 or 3 axes.
        kernel_size: places of a window along each axis.
        stride: from one window to the next.
        padding: places to add; None: as many as the rule does, see `Convolution`.
        dilation: from one place of a window to the next.
        padding_mode: member of `PADDINGS`.
        channels: of the maps, for a rule that learns.

    Attributes:
        rule: what stands beyond the border.
        extents: places that a window reaches over, along each axis.
        widths: (before, after) for each axis: places that the rule adds.

    Example:
        >>> windows = Windows(2, 3, stride=2, padding_mode="symmetric")
        >>> windows.pad(torch.zeros(1, 1, 8, 7)).shape[2:], windows.size_after((8, 7))
        (torch.Size([10, 9]), (4, 4))
    """

    def __init__(
        self,
        spatial_dims: int,
        kernel_size: Each,
        stride: Each = 1,
        padding: Padding = None,
        dilation: Each = 1,
        padding_mode: str = "zeros",
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = each(kernel_size, spatial_dims, "kernel_size")
        self.stride = each(stride, spatial_dims, "stride")
        self.dilation = each(dilation, spatial_dims, "dilation")
        self.padding_mode, self.rule = padding_mode, PADDINGS[padding_mode](channels)
        reaches = zip(self.kernel_size, self.dilation, strict=True)
        self.extents = tuple(step * (taps - 1) + 1 for taps, step in reaches)
        self.widths: Widths = [self.rule.margins(extent) for extent in self.extents]
        if padding is not None:
            self.widths = _widths(padding, spatial_dims)
            if any(map(any, self.widths)) and self.rule.reach(max(self.extents)) == 0:
                raise SettingsError(
                    f"padding is {padding}, and the padding rule '{padding_mode}' adds nothing; "
                    "leave padding out, or give another padding_mode, e.g. 'zeros'"
                )

    @property
    def same(self) -> Size | None:
        """Places that the rule adds before and after each axis alike; None where they differ."""
        alike = all(before == after for before, after in self.widths)
        return tuple(before for before, _ in self.widths) if alike else None

    def pad(self, maps: Tensor, absent: float = 0.0) -> Tensor:
        """The maps and what stands beyond their border.

        Args:
            maps: (batch, channels, *size).
            absent: what to put where windows leave out what lies beyond.

        Raises:
            ShapeError: the maps are too small for the rule or for a window.
        """
        self.size_after(maps.shape[2:])
        if not self.rule.renormalises:
            return self.rule.pad(maps, self.widths)
        flat = [width for pair in reversed(list(self.widths)) for width in pair]
        return functional.pad(maps, flat, value=absent)

    def size_after(self, size: Sequence[int]) -> Size:
        """How many windows there are along each axis.

        Raises:
            ShapeError: the maps are smaller than a window, padding included.
        """
        padded = [n + sum(pair) for n, pair in zip(size, self.widths, strict=True)]
        if any(n < extent for n, extent in zip(padded, self.extents, strict=True)):
            raise ShapeError(
                f"a window reaches over {_times(self.extents)} places, and the map has "
                f"{_times(size)}, with padding {_times(padded)}; use larger images, fewer "
                "strides before this layer, or another padding rule"
            )
        strided = zip(padded, self.extents, self.stride, strict=True)
        return tuple((n - extent) // stride + 1 for n, extent, stride in strided)

    def shares(self, maps: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """What each window weighs, divided by what of it is inside the map; 0 where nothing is.

        Args:
            maps: (batch, channels, *size), not padded.
            taps: for each axis the weights of a window's places.

        Returns:
            (*size_after(size),) factors, 1 where the whole window is inside.
        """
        shares = maps.new_ones(())
        for axis, count in enumerate(self.size_after(maps.shape[2:])):
            starts = torch.arange(count, device=maps.device) * self.stride[axis]
            steps = torch.arange(self.kernel_size[axis], device=maps.device) * self.dilation[axis]
            places = starts[:, None] + steps - self.widths[axis][0]
            inside = (places >= 0) & (places < maps.shape[2 + axis])
            weights = taps[axis].to(maps)
            within = (inside * weights).sum(-1)
            share = torch.where(within > 0, weights.sum() / within, 0.0)
            shares = shares[..., None] * share
        return shares

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={list(self.widths)}, "
            f"dilation={self.dilation}, padding_mode={self.padding_mode}"
        )


class WindowLayer(Layer):
    """A layer whose results are one for each window.

    Args:
        in_channels: of the maps that it reads.
        out_channels: of the maps that it gives.
        windows: over the maps that it reads.
    """

    def __init__(self, in_channels: int, out_channels: int, windows: Windows) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.spatial_dims, self.windows = len(windows.kernel_size), windows

    def size_after(self, size: Sequence[int]) -> Size:
        """How many windows there are along each axis."""
        return self.windows.size_after(size)


def _widths(padding: int | Sequence[int] | Widths, spatial_dims: int) -> Widths:
    """(before, after) for each axis.

    Raises:
        SettingsError: not one number or pair for each axis, or less than 0.
    """
    sides: Sequence[Any] = [padding] * spatial_dims if isinstance(padding, int) else padding
    widths = [(side, side) if isinstance(side, int) else tuple(side) for side in sides]
    if len(widths) != spatial_dims or any(len(w) != 2 or min(w) < 0 for w in widths):
        raise SettingsError(
            f"padding is {padding}; it must be a number of 0 or more, or {spatial_dims} of them or "
            "of pairs (before, after), one for each axis"
        )
    return [(width[0], width[1]) for width in widths]


def _times(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides))


def ones(size: Size) -> list[Tensor]:
    """Taps that all weigh the same, for each axis."""
    return [torch.ones(k) for k in size]


def filtered(maps: Tensor, kernel: Tensor, windows: Windows) -> Tensor:
    """Each channel filtered on its own.

    Args:
        maps: (batch, channels, *size).
        kernel: (*kernel_size) for all channels, or (channels, 1, *kernel_size).
        windows: of that size.
    """
    channels, axes = maps.shape[1], maps.ndim - 2
    kernels = kernel.to(maps.dtype).expand(channels, 1, *windows.kernel_size)
    padded = windows.pad(maps)
    convolve = CONVOLUTIONS[axes - 1]
    return convolve(padded, kernels, None, windows.stride, 0, windows.dilation, channels)
