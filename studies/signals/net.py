"""One straight net for every padding rule, also for those that change the size of the maps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from placewise.backbones import NORMS, Backbone, check_axes
from placewise.geometry import to_cells
from placewise.layers.convolution import Convolution

CELL = 4
"""Samples of a cell, which the first layer reads as channels: stride of the maps."""

WINDOW = 9
"""Cells of a convolution's window."""


class Straight(Backbone):
    """Convolutions one after the other, on cells of four samples, with nothing added to a map.

    The backbones of placewise add maps of different layers to each other, so they refuse padding
    rules that change the size of the maps. Here nothing is added, so every rule can be used. Only
    after the last layer are the maps brought back to the size of the recording, their middle kept
    in its place: with `full` they are too long, and both ends are cut off; with `valid` they are
    too short, and both ends are filled with zeros: there the net says nothing of its input.

    Args:
        in_channels: channels of the recording.
        spatial_dims: its axes.
        width: channels of each layer.
        layers: convolutions.
        padding_mode: member of `PADDINGS`, for all layers.

    Example:
        >>> import torch
        >>> for rule in ("zeros", "full", "valid"):
        ...     net = Straight(1, 1, width=8, padding_mode=rule)
        ...     print(net(torch.zeros(1, 1, 256)).shape, net.receptive_field)
        torch.Size([1, 8, 64]) 196
        torch.Size([1, 8, 64]) 196
        torch.Size([1, 8, 64]) 196
    """

    stride = CELL
    multiple = CELL

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int = 1,
        *,
        width: int = 16,
        layers: int = 6,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        check_axes(spatial_dims)
        self.in_channels, self.spatial_dims = in_channels, spatial_dims
        self.out_channels = width
        self.receptive_field = CELL * (1 + layers * (WINDOW - 1))
        parts: list[nn.Module] = []
        for before in (in_channels * CELL**spatial_dims, *[width] * (layers - 1)):
            layer = Convolution(
                before,
                width,
                WINDOW,
                bias=False,
                padding_mode=padding_mode,
                spatial_dims=spatial_dims,
            )
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            parts += [layer, NORMS[spatial_dims - 1](width), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*parts)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, width, *size / 4) features; see `Backbone.forward`."""
        self.check(images)
        return fitted(self.layers(to_cells(images, CELL)), self.size(tuple(images.shape[2:])))


def fitted(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps cut or filled with zeros to a size, as much at one end of an axis as at the other.

    Args:
        maps: (batch, channels, *sides); each side differs from `size` by an even number.
        size: of the result.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[1.0, 2.0, 3.0]]])
        >>> fitted(maps, (1,)).tolist(), fitted(maps, (5,)).tolist()
        ([[[2.0]]], [[[0.0, 1.0, 2.0, 3.0, 0.0]]])
    """
    for axis, side in enumerate(size, 2):
        more = maps.shape[axis] - side
        if more > 0:
            maps = maps.narrow(axis, more // 2, side)
        elif more < 0:
            around = [0, 0] * (maps.ndim - 1 - axis) + [-more // 2, -more // 2]
            maps = functional.pad(maps, around)
    return maps
