"""Masks of huge images: written part by part into one file, and never held."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from placewise.files import make_folder, replacing
from placewise.gathering import Gathering, Tile
from placewise.geometry import Size
from placewise.labels.names import name_beside
from placewise.mask_losses import probabilities
from placewise.tasks._strips import resized, write_png
from placewise.tasks.masks.prediction import FOLDER, colours

BLOCK = 256
"""Rows that are decided or looked at together."""

NEAR = 4
"""Pixels of a map about a core, that resizing to the image reads, and one more."""


class Pixels:
    """Bytes in a file without a name, which goes with the last that holds it.

    Args:
        count: how many, 0 at first.
    """

    def __init__(self, count: int) -> None:
        self.file: Any = tempfile.TemporaryFile(prefix="placewise")  # noqa: SIM115
        self.file.truncate(count)

    def write(self, at: int, data: bytes) -> None:
        """Replace bytes from one place on."""
        self.file.seek(at)
        self.file.write(data)

    def read(self, at: int, count: int) -> NDArray[np.uint8]:
        """(count,) bytes from one place on."""
        self.file.seek(at)
        return np.frombuffer(self.file.read(count), np.uint8)

    def __del__(self) -> None:
        """Give the file up."""
        self.file.close()


@dataclass(frozen=True)
class HugeMask:
    """What the pixels of one huge image seem to be; the mask is in a file without a name.

    Attributes:
        names: of the classes, without the background.
        image: name of the image.
        size: (height, width) of the image.
        pixels: the number of each pixel's class, row by row.
    """

    names: tuple[str, ...]
    image: str
    size: Size
    pixels: Pixels

    def mask(self, first: int, last: int) -> NDArray[np.uint8]:
        """(last − first, width) rows of the mask."""
        wide = self.size[1]
        return self.pixels.read(first * wide, (last - first) * wide).reshape(-1, wide)

    def rows(self) -> list[list[Any]]:
        """A row of `predictions.csv` for each class, as `MaskPrediction.rows` gives them."""
        found = []
        for number, name in enumerate(self.names, 1):
            area, pieces = self._area_and_pieces(number)
            share = round(area / math.prod(self.size), 6)
            found.append([self.image, name, area, share, pieces])
        return found

    def _area_and_pieces(self, number: int) -> tuple[int, int]:
        """Pixels of a class, and its connected pieces, corners included, strip by strip."""
        from scipy import ndimage

        area = pieces = 0
        above = np.zeros(self.size[1], np.int64)
        for first in range(0, self.size[0], BLOCK):
            there = self.mask(first, min(first + BLOCK, self.size[0])) == number
            labels, count = ndimage.label(there, np.ones((3, 3), bool))
            area += int(there.sum())
            pieces, above = _joined(above, labels, count, pieces)
        return area, pieces

    def save(self, folder: Path, source: Path | None = None) -> None:
        """Write the mask as PNG, strip by strip; see `MaskPrediction.save`."""
        target = folder / FOLDER / name_beside(self.image)
        make_folder(target.parent)
        with replacing(target) as part, part.open("wb") as file:
            strips = range(0, self.size[0], BLOCK)
            rows = (self.mask(first, min(first + BLOCK, self.size[0])) for first in strips)
            write_png(file, self.size, rows, bytes(colours()))


def _joined(
    above: NDArray[np.int64], labels: NDArray[Any], count: int, before: int
) -> tuple[int, NDArray[np.int64]]:
    """Pieces with one more strip, and which of them each pixel of its last row is of.

    Args:
        above: (width,) piece of each pixel of the row above, numbered from 1; 0 where there is
            none.
        labels: (height, width) pieces of the strip by themselves, numbered from 1.
        count: how many these are.
        before: pieces of all strips before.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    old = int(above.max(initial=0))
    first = labels[0].astype(np.int64)
    pairs = []
    for step in (-1, 0, 1):
        upper = above[max(0, step) : len(above) + min(0, step)]
        lower = first[max(0, -step) : len(first) + min(0, -step)]
        both = (upper > 0) & (lower > 0)
        pairs.append(np.stack([upper[both] - 1, lower[both] - 1 + old]))
    rows, columns = np.concatenate(pairs, 1)
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), (old + count, old + count))
    groups, group = connected_components(links, directed=False)
    last = labels[-1].astype(np.int64)
    new = np.where(last > 0, group[last - 1 + old] + 1 if old + count else 0, 0)
    _, new = np.unique(np.concatenate([[0], new]), return_inverse=True)
    return before + groups - old, new[1:]


class MaskGathering(Gathering[HugeMask]):
    """The class of each pixel of a core, written into a file.

    Args:
        names: of the classes, without the background.
        image: name of the image.
        shown: size of the image at the network's scale.
        size: of the image.
        map_stride: pixels at the network's scale for one pixel of the maps.
        threshold: probability above which a pixel is of the one class.
    """

    margin = NEAR

    def __init__(
        self,
        names: tuple[str, ...],
        image: str,
        shown: Size,
        size: Size,
        map_stride: int,
        threshold: float,
    ) -> None:
        self.names, self.image, self.shown, self.size = names, image, shown, size
        self.map_stride, self.threshold = map_stride, threshold
        self.pixels = Pixels(math.prod(size))

    def add(self, tile: Tile) -> None:
        """See `Gathering.add`."""
        chances = probabilities(tile.maps[None])
        if self.map_stride > 1:
            chances = functional.interpolate(chances, scale_factor=self.map_stride, mode="bilinear")
        origin = [at * self.map_stride for at in tile.origin]
        rows, columns = (self._owned(part, axis) for axis, part in enumerate(tile.core))
        for first in range(rows.start, rows.stop, BLOCK):
            strip = slice(first, min(first + BLOCK, rows.stop))
            part = resized(chances[0], origin, (strip, columns), self.shown, self.size)
            mask = self._decided(part)
            for number, row in enumerate(mask, strip.start):
                self.pixels.write(number * self.size[1] + columns.start, row.tobytes())

    def _owned(self, core: slice, axis: int) -> slice:
        """The pixels of the image that are a core's own, along an axis."""
        shown, side = self.shown[axis], self.size[axis]
        places = (min(at * self.map_stride, shown) for at in (core.start, core.stop))
        first, last = (round(at * side / shown) for at in places)
        return slice(first, last)

    def _decided(self, chances: Tensor) -> NDArray[np.uint8]:
        """The class of each pixel; see `MaskPrediction.mask`."""
        if len(chances) == 1:
            half = chances[0].cpu().numpy().astype(np.float16)
            return np.asarray(half > self.threshold, np.uint8)
        best, likeliest = chances.max(0)
        found = (likeliest + 1) * (best > 1 - chances.sum(0))
        return found.cpu().numpy().astype(np.uint8)

    def result(self) -> HugeMask:
        """See `Gathering.result`."""
        return HugeMask(self.names, self.image, self.size, self.pixels)
