"""A small U-Net that treats all four corners of an image alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from placewise.backbones import CONVOLUTIONS, NORMS, Backbone, check_axes, check_keeps_size
from placewise.errors import SettingsError
from placewise.geometry import to_cells
from placewise.layers.convolution import Convolution

STEM = 4
"""Usual side of the cells that the image is unshuffled into: stride of the first maps."""

WIDTH = 128
"""Usual channels of the deep maps."""

DEEPEST = 3
"""Most halvings that are chosen where the stem is finer: thin things are known from near by."""

LINEAR = ("linear", "bilinear", "trilinear")
"""What torch calls the doubling of maps, by number of axes, less one."""


class UNet(Backbone):
    """U-Net with symmetric sampling, thin on the way up, and without maps at full size.

    The image is unshuffled into cells of `stem` pixels along each axis, which loses nothing;
    maps are halved by convolutions of 2 places and stride 2 and doubled (bi-, tri-)linearly, so
    that no row or column is dropped and left and right, top and bottom are treated alike at every
    size. On the way up the
    maps of the way down are added after a 1×1 convolution, not concatenated: the same skip at a
    third of the multiply-adds.

    Args:
        in_channels: channels of the image.
        spatial_dims: axes of the image: 1 for signals, 2 for images, 3 for volumes.
        width: channels of the deep maps; the first have 3/8 as many, the second 3/4, and on the
            way up there are at most half as many.
        depth: number of halvings after the stem; more depth sees further.
        padding_mode: member of `PADDINGS` for the 3×3 convolutions; any that keeps the map's size.
        stem: side in pixels of the cells: stride of the first maps and of the features. Thin things
            need 2 or 1, which costs 4 or 16 times as much for the same width.

    Example:
        >>> import torch
        >>> net = UNet(1, width=32, depth=2)
        >>> net(torch.zeros(1, 1, 32, 48)).shape, net.multiple
        (torch.Size([1, 16, 8, 12]), 16)
    """

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int = 2,
        *,
        width: int = WIDTH,
        depth: int = 3,
        padding_mode: str = "zeros",
        stem: int = STEM,
    ) -> None:
        super().__init__()
        check_axes(spatial_dims)
        if not 16 <= width <= 1024:
            raise SettingsError(f"width is {width}; it must be 16 to 1024")
        if not 1 <= depth <= 8:
            raise SettingsError(f"depth is {depth}; it must be 1 to 8")
        if stem not in (1, 2, 4, 8):
            raise SettingsError(f"stem is {stem}; it must be 1, 2, 4 or 8")
        check_keeps_size(padding_mode)
        widths = [_channels(width, level) for level in range(depth + 1)]
        thin = [min(wide, _channels(width / 2, depth)) for wide in widths[:-1]]
        self.in_channels, self.spatial_dims = in_channels, spatial_dims
        convolution, norm = CONVOLUTIONS[spatial_dims - 1], NORMS[spatial_dims - 1]
        self.out_channels, self.stride, self.multiple = thin[0], stem, stem * 2**depth
        self.receptive_field = receptive_field(depth, stem)
        cells = in_channels * stem**spatial_dims
        self.stem = _convolution(cells, widths[0], padding_mode, spatial_dims)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(_Residual(wide, padding_mode, spatial_dims) for _ in range(blocks(level)))
            )
            for level, wide in enumerate(widths)
        )
        self.halve = nn.ModuleList(
            nn.Sequential(
                convolution(before, after, 2, stride=2, bias=False),
                norm(after),
                nn.ReLU(inplace=True),
            )
            for before, after in pairwise(widths)
        )
        deep = [*thin[1:], widths[-1]]
        ways = list(zip(deep, widths[:-1], thin, strict=True))
        self.ups = nn.ModuleList(
            _Up(below, skip, out, padding_mode, spatial_dims) for below, skip, out in ways[::-1]
        )
        for part in self.modules():
            if isinstance(part, convolution | Convolution):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(batch, out_channels, *size / stem) features; see `Backbone.forward`."""
        self.check(images)
        maps = self.stages[0](self.stem(to_cells(images, self.stride)))
        skips = []
        for halve, stage in zip(self.halve, self.stages[1:], strict=True):
            skips.append(maps)
            maps = stage(halve(maps))
        for up in self.ups:
            maps = up(maps, skips.pop())
        features: Tensor = maps
        return features


def blocks(level: int) -> int:
    """Residual blocks at a level; the first, whose maps are largest, has one."""
    return 1 if level == 0 else 2


def _channels(width: float, level: int) -> int:
    """A multiple of 8 near 3/8, 3/4, then all of the width."""
    return 8 * max(1, round(width * (0.375, 0.75, 1.0)[min(level, 2)] / 8))


def receptive_field(depth: int, stem: int = STEM) -> int:
    """Side in image pixels, along the deepest way: r ← r + (k − 1) · jump (Araujo et al. 2019).

    Example:
        >>> [receptive_field(depth) for depth in (1, 2, 3)]
        [112, 280, 616]
    """
    field, jump = stem, stem
    field += jump * (2 + 4 * blocks(0))  # the stem's 3×3 convolution, two in each block
    for level in range(1, depth + 1):
        field += jump  # 2×2 convolution of stride 2
        jump *= 2
        field += jump * 4 * blocks(level)
    for _ in range(depth):
        field += jump  # bilinear doubling reads one neighbour
        jump //= 2
        field += 2 * jump
    return field


def enough_depth(input_size: Sequence[int], extent: float, stem: int = STEM) -> int:
    """The least depth whose receptive field covers the input, or one and a half times the object.

    Args:
        input_size: size of the training images in pixels.
        extent: length of the object in the same pixels.
        stem: of the U-Net.

    Example:
        >>> enough_depth((96, 128), 40.0), enough_depth((240, 320), 60.0)
        (2, 3)
    """
    for depth in (2, 3, 4):
        field = receptive_field(depth, stem)
        if field >= max(input_size) or (depth >= 3 and field >= 1.5 * extent):
            return depth
    return 5


def unet_settings(
    input_size: Sequence[int], extent: float, stem: int | None = None
) -> dict[str, int]:
    """Settings that follow from the data.

    Args:
        input_size: size of the training images in pixels.
        extent: length of the object in the same pixels.
        stem: pixels of a cell; None: the usual ones. A finer one has fewer channels in the same
            measure.

    Example:
        >>> unet_settings((96, 128), 40.0), unet_settings((96, 128), 40.0, stem=2)
        ({'depth': 2}, {'depth': 2, 'stem': 2, 'width': 64})
    """
    if stem is None:
        return {"depth": enough_depth(input_size, extent)}
    depth = min(DEEPEST, enough_depth(input_size, extent))
    return {"depth": depth, "stem": stem, "width": WIDTH * stem // STEM}


class _Residual(nn.Module):
    """relu(x + f(x)), f two 3×3 convolutions; f begins as nothing."""

    def __init__(self, channels: int, padding_mode: str, spatial_dims: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, padding_mode, spatial_dims)
        self.second = Convolution(
            channels, channels, 3, bias=False, padding_mode=padding_mode, spatial_dims=spatial_dims
        )
        self.norm = NORMS[spatial_dims - 1](channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor) -> Tensor:
        mixed: Tensor = self.norm(self.second(self.first(maps)))
        return mixed.add_(maps).relu_()  # in place: a large image has no room to spare


class _Up(nn.Module):
    """Double the deep maps, add the skip, mix."""

    def __init__(
        self, deep: int, skip: int, out: int, padding_mode: str, spatial_dims: int
    ) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims - 1]
        self.linear = LINEAR[spatial_dims - 1]
        self.deep = convolution(deep, out, 1, bias=False)
        self.skip = convolution(skip, out, 1, bias=False)
        self.norm = NORMS[spatial_dims - 1](out)
        self.mix = _convolution(out, out, padding_mode, spatial_dims)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        mixed: Tensor = functional.interpolate(
            self.deep(deep), scale_factor=2.0, mode=self.linear
        ).add_(self.skip(skip))
        mixed = self.norm(mixed).relu_()
        mixed = self.mix(mixed)
        return mixed


def _convolution(before: int, after: int, padding_mode: str, spatial_dims: int) -> nn.Sequential:
    return nn.Sequential(
        Convolution(
            before, after, 3, bias=False, padding_mode=padding_mode, spatial_dims=spatial_dims
        ),
        NORMS[spatial_dims - 1](after),
        nn.ReLU(inplace=True),
    )
