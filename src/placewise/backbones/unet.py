"""A small U-Net that treats all four corners of a picture alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from placewise.backbones import Backbone
from placewise.errors import SettingsError
from placewise.paddings import PADDINGS

STEM = 4
"""Side of the cells that the picture is unshuffled into: stride of the first maps."""


class UNet(Backbone):
    """U-Net with symmetric sampling, thin on the way up, and without maps at full size.

    The picture is unshuffled into cells of 4×4 pixels, a reordering that loses nothing; maps are
    halved by 2×2 convolutions of stride 2 and doubled bilinearly, so that no row or column is
    dropped and left and right, top and bottom are treated alike at every size. On the way up the
    maps of the way down are added after a 1×1 convolution, not concatenated: the same skip at a
    third of the multiply-adds.

    Args:
        in_channels: channels of the picture.
        width: channels of the first maps; deeper ones have 2, 3, 4, 4 … times as many.
        depth: number of halvings after the stem; more depth sees further.
        padding: member of `PADDINGS` for the 3×3 convolutions.

    Example:
        >>> net = UNet(1, width=8, depth=2)
        >>> net(torch.zeros(1, 1, 32, 48)).shape, net.multiple
        (torch.Size([1, 8, 8, 12]), 16)
    """

    def __init__(
        self, in_channels: int, *, width: int = 32, depth: int = 4, padding: str = "zeros"
    ) -> None:
        super().__init__()
        if width < 4:
            raise SettingsError(f"width is {width}; it must be 4 or more")
        if not 1 <= depth <= 8:
            raise SettingsError(f"depth is {depth}; it must be 1 to 8")
        mode = PADDINGS[padding].mode
        widths = [width * min(level + 1, 4) for level in range(depth + 1)]
        self.channels, self.stride = width, STEM
        self.multiple = STEM * 2**depth
        self.stem = _convolution(in_channels * STEM**2, widths[0], mode)
        self.stages = nn.ModuleList(_Residual(wide, mode) for wide in widths)
        self.deepest = _Residual(widths[-1], mode)
        self.halve = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 2, stride=2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            )
            for before, after in pairwise(widths)
        )
        self.ups = nn.ModuleList(
            _Up(deep, skip, thin, mode) for deep, skip, thin in _way_up(widths, 2 * width)
        )
        self.receptive_field = _receptive_field(depth)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(batch, width, height / 4, width / 4) features; see `Backbone.forward`."""
        cells = functional.pixel_unshuffle(pictures, STEM)
        maps = self.stages[0](self.stem(cells))
        skips = [maps]
        for halve, stage in zip(self.halve, self.stages[1:], strict=True):
            maps = stage(halve(maps))
            skips.append(maps)
        maps = self.deepest(skips.pop())
        for up in self.ups:
            maps = up(maps, skips.pop())
        features: torch.Tensor = maps
        return features


class _Residual(nn.Module):
    """relu(x + f(x)), f two 3×3 convolutions; f begins as nothing."""

    def __init__(self, channels: int, mode: str) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, mode)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False, padding_mode=mode)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(maps + self.norm(self.second(self.first(maps))))


class _Up(nn.Module):
    """Double the deep maps, add the skip, mix."""

    def __init__(self, deep: int, skip: int, out: int, mode: str) -> None:
        super().__init__()
        self.deep = nn.Conv2d(deep, out, 1, bias=False)
        self.skip = nn.Conv2d(skip, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.mix = _convolution(out, out, mode)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        doubled = functional.interpolate(self.deep(deep), scale_factor=2.0, mode="bilinear")
        mixed: torch.Tensor = self.mix(torch.relu(self.norm(self.skip(skip) + doubled)))
        return mixed


def _convolution(before: int, after: int, mode: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False, padding_mode=mode),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _way_up(widths: Sequence[int], most: int) -> list[tuple[int, int, int]]:
    """(deep, skip, out) channels of each doubling, from the deepest on."""
    thin = [min(wide, most) for wide in widths[:-1]]
    deep = [*thin[1:], widths[-1]]
    return list(zip(deep, widths[:-1], thin, strict=True))[::-1]


def _receptive_field(depth: int) -> int:
    """Side in picture pixels, along the deepest way: r ← r + (k − 1) · jump (Araujo et al. 2019)."""
    jump, field = STEM, STEM
    field += 2 * jump * 3  # stem and first stage
    for _ in range(depth):
        field += jump  # 2×2 convolution of stride 2
        jump *= 2
        field += 2 * jump * 2
    field += 2 * jump * 2  # deepest
    for _ in range(depth):
        field += jump  # bilinear doubling reads two neighbours
        jump //= 2
        field += 2 * jump
    return field
