"""Layers: maps to maps, in 1, 2 and 3 dimensions. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.family import Family

Sides = tuple[int, ...]
"""Lengths of the axes of a map, e.g. (height, width)."""


class Layer(nn.Module, ABC):
    """Maps to maps: (batch, channels, *sides) to (batch, out_channels, *sides_after(sides)).

    Attributes:
        channels: of the maps that it reads.
        out_channels: of the maps that it gives.
        dimensions: 1, 2 or 3 axes.
        any_size: whether maps of any size may come; else the layer is tied to one.
    """

    channels: int
    out_channels: int
    dimensions: int
    any_size = True

    @abstractmethod
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, out_channels, *sides_after) of maps (batch, channels, *sides)."""

    @abstractmethod
    def sides_after(self, sides: Sequence[int]) -> Sides:
        """Sides of the maps that it gives for maps of these sides.

        Raises:
            SettingsError: such maps are too small, or not of the one size that it is tied to.
        """

    def check(self, maps: torch.Tensor) -> None:
        """Refuse maps of another number of channels or axes.

        Raises:
            SettingsError: says what was got and what is needed.
        """
        if maps.ndim != self.dimensions + 2 or maps.shape[1] != self.channels:
            raise SettingsError(
                f"{type(self).__name__} got a tensor of shape {tuple(maps.shape)}; it needs "
                f"(batch, {self.channels} channels, and {self.dimensions} axes)"
            )


LAYERS = Family("layer", Layer, "placewise.layers")
