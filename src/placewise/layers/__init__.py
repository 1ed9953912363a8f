"""Layers: maps to maps, in 1, 2 and 3 dimensions. Each file is a member.

Arguments have the names and the order that they have in `torch.nn`, so that a layer takes the place
of torch's; what torch says by the class (`Conv2d`) is `spatial_dims` here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from placewise.errors import ShapeError
from placewise.family import Family
from placewise.geometry import Size


class Layer(nn.Module, ABC):
    """Maps to maps: (batch, in_channels, *size) to (batch, out_channels, *size_after(size)).

    Attributes:
        in_channels: of the maps that it reads.
        out_channels: of the maps that it gives.
        spatial_dims: 1, 2 or 3 axes.
        any_size: whether maps of any size may come; else the layer is tied to one.
    """

    in_channels: int
    out_channels: int
    spatial_dims: int
    any_size = True

    @abstractmethod
    def forward(self, maps: Tensor) -> Tensor:
        """(batch, out_channels, *size_after(size)) of maps (batch, in_channels, *size).

        Raises:
            ShapeError: the maps have another number of axes or channels, are too small, or are
                not of the one size that the layer is tied to.
        """

    @abstractmethod
    def size_after(self, size: Sequence[int]) -> Size:
        """Size of the maps that it gives for maps of this size.

        Raises:
            ShapeError: such maps are too small, or not of the one size that it is tied to.
        """

    def check(self, maps: Tensor) -> None:
        """Refuse maps of another number of channels or axes.

        Raises:
            ShapeError: says what was got and what is needed.
        """
        if maps.ndim != self.spatial_dims + 2 or maps.shape[1] != self.in_channels:
            raise ShapeError(
                f"{type(self).__name__} got a tensor of shape {tuple(maps.shape)}; it needs "
                f"(batch, {self.in_channels} channels, and {self.spatial_dims} axes). Build it "
                "with in_channels and spatial_dims of these maps"
            )


LAYERS = Family("layer", Layer, "placewise.layers")


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return LAYERS.class_named(name)
