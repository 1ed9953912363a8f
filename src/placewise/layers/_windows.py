"""Windows over maps: size, stride, dilation and what stands beyond the border."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.layers import Sides
from placewise.paddings import PADDINGS, Widths

CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)

Each = int | Sequence[int]
"""A number for each axis, or one for all."""


def each(value: Each, dimensions: int, name: str) -> Sides:
    """A number for each axis, at least 1.

    Raises:
        SettingsError: not one for each, or less than 1.

    Example:
        >>> each(3, 2, "size"), each((3, 5), 2, "size")
        ((3, 3), (3, 5))
    """
    if dimensions not in (1, 2, 3):
        raise SettingsError(f"dimensions is {dimensions}; a layer has 1, 2 or 3 axes")
    numbers = (value,) * dimensions if isinstance(value, int) else tuple(value)
    if len(numbers) != dimensions or min(numbers) < 1:
        raise SettingsError(
            f"{name} is {value}; it must be a number of 1 or more, or {dimensions} of them, one "
            "for each axis"
        )
    return numbers


class Windows(nn.Module):
    """Windows of one size over maps that are padded by a rule.

    Args:
        dimensions: 1, 2 or 3 axes.
        size: places of a window along each axis.
        stride: from one window to the next.
        dilation: from one place of a window to the next.
        padding: member of `PADDINGS`.
        channels: of the maps, for a rule that learns.

    Attributes:
        rule: what stands beyond the border.
        extents: places that a window reaches over, along each axis.
        widths: (before, after) for each axis: places that the rule adds.
        same: places that the rule adds before and after each axis alike; None where they differ.

    Example:
        >>> windows = Windows(2, 3, stride=2, padding="symmetric")
        >>> windows.pad(torch.zeros(1, 1, 8, 7)).shape[2:], windows.sides_after((8, 7))
        (torch.Size([10, 9]), (4, 4))
    """

    def __init__(
        self,
        dimensions: int,
        size: Each,
        *,
        stride: Each = 1,
        dilation: Each = 1,
        padding: str = "zeros",
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.size = each(size, dimensions, "size")
        self.stride = each(stride, dimensions, "stride")
        self.dilation = each(dilation, dimensions, "dilation")
        self.padding, self.rule = padding, PADDINGS[padding](channels)
        reaches = zip(self.size, self.dilation, strict=True)
        self.extents = tuple(step * (taps - 1) + 1 for taps, step in reaches)
        self.widths: Widths = [self.rule.margins(extent) for extent in self.extents]
        alike = all(before == after for before, after in self.widths)
        self.same = tuple(before for before, _ in self.widths) if alike else None

    def pad(self, maps: torch.Tensor, absent: float = 0.0) -> torch.Tensor:
        """The maps and what stands beyond their border.

        Args:
            maps: (batch, channels, *sides).
            absent: what to put where windows leave out what lies beyond.

        Raises:
            SettingsError: the maps are too small for the rule or for a window.
        """
        self.sides_after(maps.shape[2:])
        if not self.rule.renormalises:
            return self.rule.pad(maps, self.widths)
        flat = [width for pair in reversed(list(self.widths)) for width in pair]
        return functional.pad(maps, flat, value=absent)

    def sides_after(self, sides: Sequence[int]) -> Sides:
        """How many windows there are along each axis.

        Raises:
            SettingsError: the maps are smaller than a window, padding included.
        """
        padded = [n + sum(pair) for n, pair in zip(sides, self.widths, strict=True)]
        if any(n < extent for n, extent in zip(padded, self.extents, strict=True)):
            raise SettingsError(
                f"a window reaches over {_times(self.extents)} places, and the map has "
                f"{_times(sides)}, with padding {_times(padded)}; use larger images, fewer "
                "strides before this layer, or another padding rule"
            )
        strided = zip(padded, self.extents, self.stride, strict=True)
        return tuple((n - extent) // stride + 1 for n, extent, stride in strided)

    def shares(self, maps: torch.Tensor, taps: Sequence[torch.Tensor]) -> torch.Tensor:
        """What each window weighs, divided by what of it is inside the map; 0 where nothing is.

        Args:
            maps: (batch, channels, *sides), not padded.
            taps: for each axis the weights of a window's places.

        Returns:
            (*sides_after,) factors, 1 where the whole window is inside.
        """
        shares = maps.new_ones(())
        for axis, count in enumerate(self.sides_after(maps.shape[2:])):
            starts = torch.arange(count, device=maps.device) * self.stride[axis]
            steps = torch.arange(self.size[axis], device=maps.device) * self.dilation[axis]
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
            f"size={self.size}, stride={self.stride}, dilation={self.dilation}, "
            f"padding={self.padding}"
        )


def _times(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides))


def ones(size: Sides) -> list[torch.Tensor]:
    """Taps that all weigh the same, for each axis."""
    return [torch.ones(k) for k in size]


def filtered(maps: torch.Tensor, kernel: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Each channel filtered on its own.

    Args:
        maps: (batch, channels, *sides).
        kernel: (*size) for all channels, or (channels, 1, *size).
        windows: of that size.
    """
    channels, dimensions = maps.shape[1], maps.ndim - 2
    kernels = kernel.to(maps.dtype).expand(channels, 1, *windows.size)
    convolve = CONVOLUTIONS[dimensions - 1]
    padded = windows.pad(maps)
    return convolve(padded, kernels, None, windows.stride, 0, windows.dilation, channels)
