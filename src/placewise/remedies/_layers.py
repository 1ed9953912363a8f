"""Layers that replace those of a mended network."""

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

TorchConvolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)

Kind = Literal["maximum", "average"]


def blur_sizes(sizes: Sequence[int], strides: Sequence[int]) -> Size:
    """Size of the blur before every `stride`-th window is taken, for each axis.

    It is twice the stride, so that every place is in equally many windows and windows are
    symmetric in an image whose sides the stride divides. It is one less if windows of this size
    satisfy both already.

    Example:
        >>> blur_sizes((3, 2, 3), (2, 2, 1))
        (4, 3, 1)
    """
    pairs = zip(sizes, strides, strict=True)
    return tuple(1 if s == 1 else 2 * s - (k % s == 0) for k, s in pairs)


def blurrings(blur: BlurPool, sides: Sequence[int], extents: Sequence[int], stride: Size) -> Widths:
    """Places to add before and after each axis for a blur in front of windows.

    The number of windows stays the same. What they would leave over at the end is not added,
    and the rest is split between both ends.

    Args:
        blur: without its own padding.
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
    """What a blur reads beyond the border if windows follow a rule.

    If windows read zeros or nothing there, it is the mirrored map, because a blur of zeros would
    darken the border. Otherwise it is the same as for the windows, so that the map can be padded
    once for both.
    """
    return Symmetric() if rule.adds_zeros and rule.keeps_size else rule


class BlurredConvolution(Convolution):
    """A strided convolution with a blur before it; its weights have the same names.

    A blur after a convolution without stride ("Making Convolutional Networks Shift-Invariant
    Again", Zhang, ICML 2019) gives the same numbers except at the border, because both are linear.
    Here only every `stride`-th place is computed.

    Example:
        >>> strided = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        >>> made = BlurredConvolution.blurred(strided, "symmetric", (4, 4))
        >>> made(torch.zeros(1, 3, 8, 7)).shape
        torch.Size([1, 8, 4, 4])
    """

    blur: BlurPool

    @classmethod
    def blurred(
        cls, convolution: TorchConvolution, padding: str, sizes: Size
    ) -> BlurredConvolution:
        """A copy of torch's convolution with a padding rule and a blur.

        Args:
            convolution: with a stride.
            padding: member of `PADDINGS`.
            sizes: of the blur along each axis.
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
        """Places to add for the blur only."""
        windows = self.windows
        if not windows.rule.keeps_size:
            return [windows.rule.margins(size) for size in self.blur.windows.kernel_size]
        wide = [n + sum(pair) for n, pair in zip(sides, windows.widths, strict=True)]
        return blurrings(self.blur, wide, windows.extents, windows.stride)

    def size_after(self, sides: Sequence[int]) -> Size:
        """Number of windows along each axis."""
        sizes = self.blur.windows.kernel_size
        added = zip(sides, self._blurrings(sides), sizes, strict=True)
        return super().size_after([n + sum(pair) - size + 1 for n, pair, size in added])


class MendedPooling(nn.Module):
    """A maximum or an average over windows with any padding rule, and a blur after a maximum.

    Like the pooling of torch, it takes maps of any number of channels, so that a network can use
    it in several places.

    Args:
        kind: "maximum" or "average".
        size: of a window along each axis.
        stride: from one window to the next.
        margins: (before, after) for each axis: places to add.
        padding: member of `PADDINGS`; partial ignores what is beyond the border, as torch's
            maximum does.
        blur: size of the blur along each axis: the maximum of all windows is taken, then blurred,
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
    """Padding by a rule, as a replacement for a padding layer of torch.

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
