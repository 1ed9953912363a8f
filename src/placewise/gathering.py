"""Gathering: what tiles of the maps of one image say together, without holding the maps.

A task that can be predicted in tiles gives a `Gathering`. It gets the raw output of the network
tile by tile, each with a margin of pixels that belong to its neighbours, and keeps only what the
answer needs: the hottest pixel with those about it, the hills, sums. The answer is that of the
whole map; each pixel belongs to the core of exactly one tile, so nothing is counted twice and
nothing has to be blended.
"""

from __future__ import annotations

import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from placewise.geometry import Size

R = TypeVar("R")
Q = TypeVar("Q")


@dataclass(frozen=True)
class Tile:
    """A part of the maps of an image.

    Attributes:
        maps: (channels, *size) raw output of the network, with the margin about the core.
        origin: place of the tile's first pixel on the whole map, for each axis.
        core: pixels of the whole map that are this tile's own.
        whole: size of the whole map, without what belongs to padding alone.
    """

    maps: Tensor
    origin: Size
    core: tuple[slice, ...]
    whole: Size

    def own(self, maps: Tensor | None = None) -> Tensor:
        """(channels, *core) of the tile's maps, or of others at its pixels."""
        maps = self.maps if maps is None else maps
        for axis, (part, at) in enumerate(zip(self.core, self.origin, strict=True), 1):
            maps = maps.narrow(axis, part.start - at, part.stop - part.start)
        return maps

    def inside(self) -> Tensor:
        """The tile's maps as far as they lie on the whole map."""
        maps = self.maps
        for axis, (side, at) in enumerate(zip(self.whole, self.origin, strict=True), 1):
            maps = maps.narrow(axis, 0, min(side - at, maps.shape[axis]))
        return maps


class Gathering(ABC, Generic[R]):
    """What is kept of the tiles of one image.

    Attributes:
        margin: pixels of the maps about a core that its tile must have.
    """

    margin: int = 0

    @abstractmethod
    def add(self, tile: Tile) -> None:
        """Take one tile, each core once, in reading order."""

    @abstractmethod
    def result(self) -> R:
        """The answer, after the last tile."""

    def then(self, step: Callable[[R], Q]) -> Gathering[Q]:
        """The same with one more step behind the answer."""
        return _Then(self, step)


class _Then(Gathering[Q], Generic[R, Q]):
    """A gathering and a step behind it."""

    def __init__(self, first: Gathering[R], step: Callable[[R], Q]) -> None:
        self.first, self.step, self.margin = first, step, first.margin

    def add(self, tile: Tile) -> None:
        """See `Gathering.add`."""
        self.first.add(tile)

    def result(self) -> Q:
        """See `Gathering.result`."""
        return self.step(self.first.result())


class Filed:
    """An array of zeros in a file without a name, which goes with the last that holds it.

    Args:
        shape: of the array.
        dtype: of its numbers.

    Example:
        >>> filed = Filed((2, 4, 5), np.float32)
        >>> filed.write(np.ones((2, 1, 3)), (3, 1))
        >>> filed.read()[1, 2:].tolist()
        [[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0, 0.0]]
    """

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.file: Any = tempfile.TemporaryFile(prefix="placewise")  # noqa: SIM115
        self.file.truncate(self.dtype.itemsize * math.prod(self.shape))

    def write(self, values: NDArray[Any], begin: Sequence[int]) -> None:
        """Put a part at its place.

        Args:
            values: as many axes as the array has.
            begin: place of the first number along the last axes; 0 along those before.
        """
        part = np.ascontiguousarray(values, self.dtype)
        starts = (*[0] * (len(self.shape) - len(begin)), *begin)
        for index in np.ndindex(part.shape[:-1]):
            place = 0
            for at, start, side in zip(index, starts[:-1], self.shape[:-1], strict=True):
                place = place * side + at + start
            self.file.seek(self.dtype.itemsize * (place * self.shape[-1] + starts[-1]))
            self.file.write(part[index].tobytes())

    def read(self) -> NDArray[Any]:
        """The whole array, which stays in the file; what is changed in it is changed there."""
        self.file.flush()
        return np.memmap(self.file, self.dtype, "r+", shape=self.shape)

    def __del__(self) -> None:
        """Give the file up."""
        self.file.close()
