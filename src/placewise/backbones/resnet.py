"""A small residual net that halves its maps evenly."""

from __future__ import annotations

import torch
from torch import nn

from placewise.backbones import Backbone
from placewise.backbones._rules import check_keeps_size
from placewise.errors import SettingsError
from placewise.layers.convolution import Convolution

STAGES = 3


class ResNet(Backbone):
    """Residual net of 6n + 2 layers for small images, after He et al. (2016), section 4.2.

    Three stages of n blocks with w, 2w and 4w channels; a block is relu(s(x) + f(x)) with two
    convolutions in f. Unlike there, maps are halved by 2×2 convolutions of stride 2, and by 2×2
    averages on the way around: a 3×3 window of stride 2 begins before the first row and ends at
    the last but one, so that a border is read on one side and not on the other, and places move
    by half a pixel at each stage. Cells of 2×2 tile the map: nothing is dropped, left and right
    are alike, and pixel m of the features lies where a head expects it.

    Args:
        in_channels: channels of the image.
        blocks: n, blocks of each stage; 3 gives what is called ResNet-20.
        width: channels of the first stage.
        padding_mode: member of `PADDINGS` for the 3×3 convolutions; any that keeps the map's size.

    Example:
        >>> net = ResNet(3)
        >>> net(torch.zeros(1, 3, 32, 32)).shape, net.receptive_field
        (torch.Size([1, 64, 8, 8]), 78)
    """

    stride = 2 ** (STAGES - 1)
    multiple = 2 ** (STAGES - 1)

    def __init__(
        self, in_channels: int, *, blocks: int = 3, width: int = 16, padding_mode: str = "zeros"
    ) -> None:
        super().__init__()
        if not (1 <= blocks <= 200 and 1 <= width <= 1024):
            raise SettingsError(
                f"blocks is {blocks} and width is {width}; needed are 1 to 200 blocks and 1 to "
                "1024 channels"
            )
        check_keeps_size(padding_mode)
        widths = [width * 2**stage for stage in range(STAGES)]
        self.in_channels = in_channels
        self.out_channels, self.receptive_field = widths[-1], receptive_field(blocks)
        self.stem = nn.Sequential(
            Convolution(in_channels, width, 3, bias=False, padding_mode=padding_mode),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        parts: list[nn.Module] = []
        for stage, after in enumerate(widths):
            before = widths[max(stage - 1, 0)]
            parts.append(_Block(before, after, halve=stage > 0, padding_mode=padding_mode))
            parts += [
                _Block(after, after, halve=False, padding_mode=padding_mode)
                for _ in range(blocks - 1)
            ]
        self.stages = nn.Sequential(*parts)
        for part in self.modules():
            if isinstance(part, Convolution):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height / 4, width / 4) features; see `Backbone.forward`."""
        features: torch.Tensor = self.stages(self.stem(images))
        return features


def receptive_field(blocks: int) -> int:
    """Side in image pixels: r ← r + (k − 1) · jump (Araujo et al. 2019).

    Example:
        >>> [receptive_field(blocks) for blocks in (1, 3)]
        [22, 78]
    """
    field, jump = 3, 1
    for stage in range(STAGES):
        windows = 2 * blocks
        if stage > 0:
            field += jump  # 2×2 convolution of stride 2
            jump, windows = jump * 2, windows - 1
        field += 2 * jump * windows
    return field


class _Block(nn.Module):
    """relu(s(x) + f(x)), f two convolutions; f begins as nothing."""

    def __init__(self, before: int, after: int, *, halve: bool, padding_mode: str) -> None:
        super().__init__()
        if halve:
            self.first = Convolution(before, after, 2, stride=2, bias=False, padding_mode="valid")
        else:
            self.first = Convolution(before, after, 3, bias=False, padding_mode=padding_mode)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = Convolution(after, after, 3, bias=False, padding_mode=padding_mode)
        self.second_norm = nn.BatchNorm2d(after)
        nn.init.zeros_(self.second_norm.weight)
        self.around = nn.Sequential()
        if halve:
            self.around.append(nn.AvgPool2d(2))
        if before != after:
            self.around.append(Convolution(before, after, 1, bias=False))
            self.around.append(nn.BatchNorm2d(after))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.first_norm(self.first(maps)))
        return torch.relu(self.around(maps) + self.second_norm(self.second(inner)))
