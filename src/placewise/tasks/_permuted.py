"""The places of a map in one fixed random order: what is left of a network without place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from placewise.augment import generator
from placewise.errors import ShapeError
from placewise.geometry import Size
from placewise.layers import Layer


class PermutedPlaces(Layer):
    """Move the places of a map by one fixed permutation; all channels of a place move together.

    Args:
        in_channels: of the maps.
        input_size: of the maps, one number for each of 1, 2 or 3 axes.
        order: seed of the permutation.

    Example:
        >>> maps = torch.arange(6.0).reshape(1, 1, 2, 3)
        >>> sorted(PermutedPlaces(1, (2, 3))(maps).flatten().tolist())
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    any_size = False

    def __init__(self, in_channels: int, input_size: Sequence[int], order: int = 0) -> None:
        super().__init__()
        self.in_channels = self.out_channels = in_channels
        self.input_size, self.spatial_dims = tuple(input_size), len(input_size)
        places = generator(order, 0, "places").permutation(math.prod(input_size))
        self.register_buffer("places", torch.from_numpy(places), persistent=False)
        self.places: Tensor

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (batch, in_channels, *input_size) with their places in the other order."""
        self.check(maps)
        self.size_after(maps.shape[2:])
        return maps.flatten(2).index_select(2, self.places).reshape(maps.shape)

    def size_after(self, size: Sequence[int]) -> Size:
        """The same."""
        if tuple(size) != self.input_size:
            raise ShapeError(
                f"the permutation is of maps of size {self.input_size}; it got {tuple(size)}. "
                "Bring the images to the size that it was made for"
            )
        return self.input_size
