"""The places of a map in one fixed random order: what is left of a network without place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from placewise.augment import generator


class PermutedPlaces(nn.Module):
    """Move the places of a map by one fixed permutation; all channels of a place move together.

    Args:
        size: of the map, 1 to 3 axes.
        order: seed of the permutation.

    Example:
        >>> maps = torch.arange(6.0).reshape(1, 1, 2, 3)
        >>> sorted(PermutedPlaces((2, 3))(maps).flatten().tolist())
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    def __init__(self, size: Sequence[int], order: int = 0) -> None:
        super().__init__()
        places = generator(order, 0, "places").permutation(math.prod(size))
        self.register_buffer("places", torch.from_numpy(places), persistent=False)
        self.places: torch.Tensor

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (batch, channels, *size) with their places in the other order."""
        return maps.flatten(2).index_select(2, self.places).reshape(maps.shape)
