"""A small residual net that halves its maps evenly."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from placewise.backbones import AVERAGES, NORMS, Backbone, check_axes, check_keeps_size
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
        spatial_dims: axes of the image: 1 for signals, 2 for images, 3 for volumes.
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
        self,
        in_channels: int,
        spatial_dims: int = 2,
        *,
        blocks: int = 3,
        width: int = 16,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        check_axes(spatial_dims)
        if not (1 <= blocks <= 200 and 1 <= width <= 1024):
            raise SettingsError(
                f"blocks is {blocks} and width is {width}; needed are 1 to 200 blocks and 1 to "
                "1024 channels"
            )
        check_keeps_size(padding_mode)
        widths = [width * 2**stage for stage in range(STAGES)]
        self.in_channels, self.spatial_dims = in_channels, spatial_dims
        self.out_channels, self.receptive_field = widths[-1], receptive_field(blocks)
        convolution = _convolutions(padding_mode, spatial_dims)
        self.stem = nn.Sequential(
            convolution(in_channels, width, 3),
            NORMS[spatial_dims - 1](width),
            nn.ReLU(inplace=True),
        )
        parts: list[nn.Module] = []
        for stage, after in enumerate(widths):
            before = widths[max(stage - 1, 0)]
            parts.append(_Block(before, after, stage > 0, padding_mode, spatial_dims))
            parts += [
                _Block(after, after, False, padding_mode, spatial_dims) for _ in range(blocks - 1)
            ]
        self.stages = nn.Sequential(*parts)
        for part in self.modules():
            if isinstance(part, Convolution):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(batch, out_channels, *size / 4) features; see `Backbone.forward`."""
        self.check(images)
        features: Tensor = self.stages(self.stem(images))
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


def _convolutions(padding_mode: str, spatial_dims: int) -> partial[Convolution]:
    """What makes the convolutions of a network: all without a bias and by one padding rule."""
    return partial(Convolution, bias=False, padding_mode=padding_mode, spatial_dims=spatial_dims)


class _Block(nn.Module):
    """relu(s(x) + f(x)), f two convolutions; f begins as nothing."""

    def __init__(
        self, before: int, after: int, halve: bool, padding_mode: str, spatial_dims: int
    ) -> None:
        super().__init__()
        norm = NORMS[spatial_dims - 1]
        convolution = _convolutions(padding_mode, spatial_dims)
        if halve:
            self.first = convolution(before, after, 2, stride=2, padding_mode="valid")
        else:
            self.first = convolution(before, after, 3)
        self.first_norm = norm(after)
        self.second = convolution(after, after, 3)
        self.second_norm = norm(after)
        nn.init.zeros_(self.second_norm.weight)
        self.around = nn.Sequential()
        if halve:
            self.around.append(AVERAGES[spatial_dims - 1](2))
        if before != after:
            self.around.append(convolution(before, after, 1, padding_mode="zeros"))
            self.around.append(norm(after))

    def forward(self, maps: Tensor) -> Tensor:
        inner = torch.relu(self.first_norm(self.first(maps)))
        return torch.relu(self.around(maps) + self.second_norm(self.second(inner)))
