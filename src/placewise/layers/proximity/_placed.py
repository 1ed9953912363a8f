"""What layers have in common whose inputs and units lie at places."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

import torch

from placewise.errors import SettingsError
from placewise.layers import Layer, Sides
from placewise.layers.proximity.places import Places


class PlacedLayer(Layer, ABC):
    """A layer with weights of its own for each unit, so tied to one shape of maps.

    Attributes:
        inputs: where the inputs lie.
        outputs: where the units lie.
    """

    any_size = False

    def __init__(self, inputs: Places, outputs: Places) -> None:
        super().__init__()
        outputs.require_same_span(inputs)
        self.inputs, self.outputs = inputs, outputs
        self.channels, self.out_channels = inputs.channels, outputs.channels
        self.dimensions = len(inputs.shape)

    def check(self, maps: torch.Tensor) -> None:
        """Refuse maps that have not one value for each input; see `Layer.check`."""
        super().check(maps)
        self.sides_after(maps.shape[2:])

    def sides_after(self, sides: Sequence[int]) -> Sides:
        """The one shape that it gives; see `Layer.sides_after`."""
        if tuple(sides) != self.inputs.shape:
            raise SettingsError(
                f"{type(self).__name__} got maps of sides {tuple(sides)}; each of its weights "
                f"belongs to one input, so it needs {self.inputs.shape}"
            )
        return self.outputs.shape
