"""Layers that stand in for those of a network that is mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from placewise.geometry import Size
from placewise.layers.blur import BlurPool
from placewise.layers.convolution import Convolution
from placewise.layers.pooling import Pooling
from placewise.paddings import PADDINGS, PaddingRule, Symmetric, Widths

CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)

Strided = nn.Conv1d | nn.Conv2d | nn.Conv3d

Kind = Literal["maximum", "average"]


def blur_sizes(sizes: Sequence[int], strides: Sequence[int]) -> Size:
    """Places of the blur before every `stride`-th window is taken, for each axis.

    Twice the stride, so that every place is in equally many windows, and so that windows lie
    evenly about an image whose sides the stride divides; one less where windows of this size
    meet both already.

    Example:
        >>> blur_sizes((3, 2, 3), (2, 2, 1))
        (4, 3, 1)
    """
    pairs = zip(sizes, strides, strict=True)
    return tuple(1 if s == 1 else 2 * s - (k % s == 0) for k, s in pairs)


def blurrings(blur: BlurPool, sides: Sequence[int], extents: Sequence[int], stride: Size) -> Widths:
    """Places to add before and after each axis for a blur in front of windows.

    The windows stay as many as they were. What they would leave over at the end is not added,
    and the rest is shared by both ends.

    Args:
        blur: without padding of its own.
        sides: of the map, with the padding of the windows.
        extents: of the windows.
        stride: from one window to the next.
    """
    widths = []
    for n, size, extent, step in zip(sides, blur.windows.kernel_size, extents, stride, strict=True):
        added = size - 1 - ((n - extent) % step if step > 1 else 0)
        widths.append((added // 2, added - added // 2))
    return widths


def joined(first: Widths, second: Widths) -> Widths:
    """The sum of two paddings."""
    return [(a + c, b + d) for (a, b), (c, d) in zip(first, second, strict=True)]


def padded_sides(maps: torch.Tensor, widths: Widths) -> list[int]:
    """Sides of a map once it is padded."""
    return [n + sum(pair) for n, pair in zip(maps.shape[2:], widths, strict=True)]


def border_of(rule: PaddingRule) -> PaddingRule:
    """What a blur reads beyond the border where windows follow a rule.

    The mirrored map where windows read zeros or nothing there, for a blur of zeros would darken the
    border; else the same as the windows, so that the map can be padded once for both.
    """
    return Symmetric() if rule.adds_zeros and rule.keeps_size else rule


class BlurredConvolution(Convolution):
    """A convolution that strides, with a blur before it; its weights have the same names.

    A blur after a convolution that does not stride ("Making Convolutional Networks Shift-Invariant
    Again", Zhang, ICML 2019) gives the same numbers but for the border, since both are linear; here
    only every `stride`-th place is calculated.

    Example:
        >>> strided = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        >>> made = BlurredConvolution.blurred(strided, "symmetric", (4, 4))
        >>> made(torch.zeros(1, 3, 8, 7)).shape
        torch.Size([1, 8, 4, 4])
    """

    blur: BlurPool

    @classmethod
    def blurred(cls, convolution: Strided, padding: str, sizes: Size) -> BlurredConvolution:
        """A copy of torch's convolution with a padding rule and a blur.

        Args:
            convolution: that strides.
            padding: member of `PADDINGS`.
            sizes: places of the blur along each axis.
        """
        made = cls.of(convolution, padding)
        if not isinstance(made, cls):
            raise TypeError(f"{cls.__name__}.of made a {type(made).__name__}")
        axes, device = made.spatial_dims, made.weight.device
        blur = BlurPool(made.in_channels, sizes, 1, padding_mode="valid", spatial_dims=axes)
        made.blur = blur.to(device)
        return made

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, out_channels, *size_after) of maps (batch, channels, *sides)."""
        self.check(maps)
        windows, border = self.windows, border_of(self.windows.rule)
        widths = self._blurrings(maps.shape[2:])
        if border is not windows.rule:
            return super().forward(self.blur(border.pad(maps, widths)))
        maps = self.blur(border.pad(maps, joined(windows.widths, widths)))
        convolve, step = CONVOLVE[self.spatial_dims - 1], windows.stride
        return convolve(maps, self.weight, self.bias, step, 0, windows.dilation, self.groups)

    def _blurrings(self, sides: Sequence[int]) -> Widths:
        """Places to add for the blur alone."""
        windows = self.windows
        if not windows.rule.keeps_size:
            return [windows.rule.margins(size) for size in self.blur.windows.kernel_size]
        wide = [n + sum(pair) for n, pair in zip(sides, windows.widths, strict=True)]
        return blurrings(self.blur, wide, windows.extents, windows.stride)

    def size_after(self, sides: Sequence[int]) -> Size:
        """How many windows there are along each axis."""
        sizes = self.blur.windows.kernel_size
        added = zip(sides, self._blurrings(sides), sizes, strict=True)
        return super().size_after([n + sum(pair) - size + 1 for n, pair, size in added])


class MendedPooling(nn.Module):
    """A maximum or an average over windows with any padding rule, and a blur after a maximum.

    It takes maps of any number of channels, as the pooling of torch does, which a network may use
    at several places.

    Args:
        kind: "maximum" or "average".
        size: places of a window along each axis.
        stride: from one window to the next.
        margins: (before, after) for each axis: places to add.
        padding: member of `PADDINGS`; partial leaves out what lies beyond, as torch's maximum does.
        blur: places of the blur along each axis; the maximum of all windows is taken, then blurred,
            and then every `stride`-th place is taken. None: no blur.

    Example:
        >>> pool = MendedPooling("maximum", (3,), (2,), [(1, 1)], "symmetric", blur=(4,))
        >>> pool(torch.arange(8.0).view(1, 1, 8)).tolist()
        [[[1.625, 3.5, 5.5, 6.875]]]
    """

    def __init__(
        self,
        kind: Kind,
        size: Size,
        stride: Size,
        margins: Widths,
        padding: str,
        blur: Size | None = None,
    ) -> None:
        super().__init__()
        self.margins, self.stride = list(margins), stride
        self.rule = PADDINGS[padding]()
        self.pooling = Pooling(
            1,
            size,
            stride if blur is None else 1,
            self.margins if self.rule.renormalises else None,
            "partial" if self.rule.renormalises else "valid",
            kind=kind,
            spatial_dims=len(size),
        )
        self.blur: BlurPool | None = None
        if blur is not None:
            self.blur = BlurPool(1, blur, stride, padding_mode="valid", spatial_dims=len(size))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *sides) to (batch, channels, *sides after)."""
        single = maps.flatten(0, 1).unsqueeze(1)
        found = self._blurred(single) if self.blur is not None else self.pooling(self._pad(single))
        result: torch.Tensor = found.view(*maps.shape[:2], *found.shape[2:])
        return result

    def _pad(self, maps: torch.Tensor) -> torch.Tensor:
        return maps if self.rule.renormalises else self.rule.pad(maps, self.margins)

    def _blurred(self, maps: torch.Tensor) -> torch.Tensor:
        blur, size = self.blur, self.pooling.windows.kernel_size
        if blur is None:
            return maps
        widths = blurrings(blur, padded_sides(maps, self.margins), size, self.stride)
        if not self.rule.keeps_size:
            widths = [self.rule.margins(side) for side in blur.windows.kernel_size]
        if self.rule.renormalises:
            maps = border_of(self.rule).pad(self.pooling(maps), widths)
        else:
            maps = self.pooling(self.rule.pad(maps, joined(self.margins, widths)))
        found: torch.Tensor = blur(maps)
        return found

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"stride={self.stride}, margins={self.margins}"


class Pad(nn.Module):
    """Padding by a rule, in the place of a padding layer of torch.

    Args:
        padding: member of `PADDINGS`.
        widths: (before, after) for each axis: places to add.

    Example:
        >>> Pad("circular", [(1, 0)])(torch.tensor([[[1.0, 2.0]]]))
        tensor([[[2., 1., 2.]]])
    """

    def __init__(self, padding: str, widths: Widths) -> None:
        super().__init__()
        self.rule, self.widths = PADDINGS[padding](), list(widths)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (batch, channels, *sides), padded."""
        return self.rule.pad(maps, self.widths)
