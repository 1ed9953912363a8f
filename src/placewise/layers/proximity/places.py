"""Where units lie: the one thing that distances, neighbourhoods, wiring cost and images need.

The units of a map or of a hidden layer lie on a grid of one, two or three axes that spans an
extent, in the unit of length of that extent. With n places along an axis of extent L,

    coordinate of place i = (i + ½) · L / n − ½

which is the rule of `placewise.geometry`: two sheets of one extent lie over each other however
many places each has.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from placewise.errors import SettingsError, ShapeError
from placewise.geometry import Size
from placewise.layers import Layer

EVERY = slice(None)


@dataclass(frozen=True)
class Places:
    """Units on a line, a sheet or in a volume.

    Units are numbered as the flattened map (channels, *shape) numbers its pixels. The channels of
    a place all lie at that place; to let channels lie apart, make them an axis of `shape`.

    Attributes:
        shape: places along each of 1, 2 or 3 axes, in the order of a map's axes.
        channels: units at each place.
        extent: lengths of the axes; left out, neighbouring places are 1 apart.
        torus: whether each axis is closed to a ring.

    Raises:
        SettingsError: no such grid.

    Example:
        >>> sheet = Places((2, 2), channels=3)
        >>> sheet.units, sheet.coordinates()[:4].tolist()
        (12, [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    """

    shape: tuple[int, ...]
    channels: int = 1
    extent: tuple[float, ...] = ()
    torus: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "extent", tuple(map(float, self.extent or self.shape)))
        if not 1 <= len(self.shape) <= 3 or min(*self.shape, self.channels) < 1:
            raise SettingsError(
                f"got places of shape {self.shape} with {self.channels} channels; needed are 1, 2 "
                "or 3 axes of at least one place, and at least one channel"
            )
        if len(self.extent) != len(self.shape) or not all(0 < e < math.inf for e in self.extent):
            raise SettingsError(
                f"got the extent {self.extent} for places of shape {self.shape}; needed is one "
                "positive length for each axis, or none at all for places that are 1 apart"
            )

    @property
    def units(self) -> int:
        """Number of units."""
        return self.channels * math.prod(self.shape)

    def resized(self, shape: Sequence[int], channels: int = 1) -> Places:
        """Another grid over the same extent.

        Args:
            shape: places along each axis.
            channels: units at each place.

        Example:
            >>> Places((8, 8)).resized((2, 2)).coordinates()[0].tolist()
            [1.5, 1.5]
        """
        return Places(tuple(shape), channels, self.extent, self.torus)

    def coordinates(self) -> Tensor:
        """(units, axes) float64: where each unit lies, axes in the order of `shape`.

        Example:
            >>> Places((3,), extent=(6,)).coordinates().tolist()
            [[0.5], [2.5], [4.5]]
        """
        axes = [
            (torch.arange(places, dtype=torch.float64) + 0.5) * length / places - 0.5
            for places, length in zip(self.shape, self.extent, strict=True)
        ]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        return grid.reshape(-1, len(self.shape)).repeat(self.channels, 1)

    def require_same_span(self, other: Places) -> None:
        """Refuse places that do not lie over the same extent.

        Raises:
            SettingsError: says what both span.

        Example:
            >>> Places((8, 8)).require_same_span(Places((4, 4), extent=(8, 8)))
        """
        if (self.extent, self.torus) != (other.extent, other.torus):
            raise SettingsError(
                f"no distance between places over {_words(self)} and places over {_words(other)}; "
                "both must span the same: make one from the other by `resized`"
            )

    def squared_distances(
        self, other: Places, units: slice = EVERY, dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """Squared distances from some units of these places to all units of others.

        Args:
            other: places over the same extent.
            units: which units of these places.
            dtype: type of the result.

        Returns:
            (units, other.units).

        Raises:
            SettingsError: the two do not span the same extent.

        Example:
            >>> Places((3,)).squared_distances(Places((3,)), slice(0, 1)).tolist()
            [[0.0, 1.0, 4.0]]
        """
        self.require_same_span(other)
        mine, theirs = self.coordinates()[units].to(dtype), other.coordinates().to(dtype)
        total = torch.zeros(len(mine), len(theirs), dtype=dtype)
        for axis in range(len(self.shape)):
            apart = self.shorter_way(mine[:, axis, None] - theirs[:, axis], axis)
            total.addcmul_(apart, apart)
        return total

    def distances(self, other: Places, units: slice = EVERY) -> Tensor:
        """Euclidean distances, along the shorter way on a torus; see `squared_distances`.

        Example:
            >>> ring = Places((5,), torus=True)
            >>> ring.distances(ring)[0].tolist()
            [0.0, 1.0, 2.0, 2.0, 1.0]
        """
        return self.squared_distances(other, units).sqrt()

    def shorter_way(self, apart: Tensor, axis: int) -> Tensor:
        """Signed distances along one axis: on a torus by the shorter way round, else as they are.

        Example:
            >>> Places((4,), torus=True).shorter_way(torch.tensor([3.0, -1.0]), 0).tolist()
            [-1.0, -1.0]
        """
        if not self.torus:
            return apart
        length = self.extent[axis]
        return torch.remainder(apart + length / 2, length) - length / 2

    def drawn(self) -> Tensor:
        """(units, 2) of (x, y) for images: slices and channels stand side by side, one apart.

        Example:
            >>> Places((1, 2), channels=2).drawn().tolist()
            [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [4.0, 0.0]]
        """
        points = self.coordinates()
        flat = math.prod(self.shape[-2:])
        panel = torch.arange(self.units) // flat
        across = points[:, -1] + panel * (self.extent[-1] + 1)
        down = points[:, -2] if len(self.shape) > 1 else torch.zeros_like(across)
        return torch.stack([across, down], 1)


def wiring_cost(weight: Tensor, inputs: Places, outputs: Places) -> Tensor:
    """Σ |w| · d: how much wire a fully connected layer lays, to be added to a loss.

    Args:
        weight: (outputs.units, inputs.units).
        inputs: where the inputs lie.
        outputs: where the outputs lie.

    Returns:
        A scalar, differentiable in the weights.

    Example:
        >>> line = Places((3,))
        >>> wiring_cost(torch.tensor([[5.0, 1.0, -2.0]]), line, line.resized((1,))).item()
        7.0
    """
    return (weight.abs() * outputs.distances(inputs).to(weight)).sum()


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
        self.in_channels, self.out_channels = inputs.channels, outputs.channels
        self.spatial_dims = len(inputs.shape)

    def check(self, maps: Tensor) -> None:
        """Refuse maps that have not one value for each input; see `Layer.check`."""
        super().check(maps)
        self.size_after(maps.shape[2:])

    def size_after(self, size: Sequence[int]) -> Size:
        """The one shape that it gives; see `Layer.size_after`."""
        if tuple(size) != self.inputs.shape:
            raise ShapeError(
                f"{type(self).__name__} got maps of size {tuple(size)}; each of its weights "
                f"belongs to one input, so it needs {self.inputs.shape}"
            )
        return self.outputs.shape


def _words(places: Places) -> str:
    return f"{places.extent}{', a torus' if places.torus else ''}"
