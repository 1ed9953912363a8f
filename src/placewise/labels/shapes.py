"""Objects as outlines or as runs of pixels, drawn when their pixels are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray, Size
from placewise.labels.masks import IGNORED, InstanceSource, Labels

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """An object, or a region that is ignored.

    Attributes:
        kind: number of its kind among the names; −1 where the region is ignored.
        rings: (points, 2) corners (x, y) of outlines in pixels, an integer is a pixel's centre.
        runs: lengths of runs of pixels outside and inside by turns, outside first, down the columns
            from the left; empty where there are outlines.
    """

    kind: int
    rings: tuple[FloatArray, ...] = ()
    runs: tuple[int, ...] = ()

    def mask(self, size: Size) -> Mask:
        """(height, width) its pixels: those whose centre is in one of the outlines, or in a run.

        Example:
            >>> square = np.array([[-0.5, -0.5], [1.5, -0.5], [1.5, 0.5], [-0.5, 0.5]])
            >>> Shape(0, (square,)).mask((2, 3)).tolist()
            [[True, True, False], [False, False, False]]
        """
        if self.runs:
            return from_runs(self.runs, size)
        found = np.zeros(size, bool)
        for ring in self.rings:
            found |= filled(ring, size)
        return found


@dataclass(frozen=True)
class Shapes(InstanceSource):
    """The objects of an image as shapes.

    Where objects lie over each other a pixel belongs to the smallest of them, so that none is
    hidden. What only an ignored region covers is ignored.

    Attributes:
        size: (height, width) of the image.
        shapes: the objects and ignored regions.

    Example:
        >>> source = Shapes((1, 4), (Shape(0, runs=(0, 3, 1)), Shape(1, runs=(1, 1, 2))))
        >>> [part.tolist() for part in source.instances()]
        [[[1, 2, 1, 0]], [0, 1]]
    """

    size: Size
    shapes: tuple[Shape, ...]

    def instances(self) -> tuple[Labels, NDArray[np.int32]]:
        """Objects in the order of the shapes; see `InstanceSource.instances`."""
        drawn = [shape.mask(self.size) for shape in self.shapes]
        labels = np.zeros(self.size, np.int32)
        objects = [k for k, shape in enumerate(self.shapes) if shape.kind >= 0]
        areas = {k: int(drawn[k].sum()) for k in objects}
        kept = [k for k in objects if areas[k]]
        number = {k: n for n, k in enumerate(kept, 1)}
        for k in sorted(kept, key=lambda k: (-areas[k], k)):
            labels[drawn[k]] = number[k]
        for shape, mask in zip(self.shapes, drawn, strict=True):
            if shape.kind < 0:
                labels[mask & (labels == 0)] = IGNORED
        return _without_hidden(labels, np.array([self.shapes[k].kind for k in kept], np.int32))

    def digest(self) -> bytes:
        """What changes when the labels change."""
        digest = hashlib.sha256(repr(self.size).encode())
        for shape in self.shapes:
            digest.update(f"{shape.kind}{shape.runs}".encode())
            for ring in shape.rings:
                digest.update(np.ascontiguousarray(ring, np.float64).tobytes())
        return digest.digest()


def _without_hidden(labels: Labels, kinds: NDArray[np.int32]) -> tuple[Labels, NDArray[np.int32]]:
    """The same without objects of which no pixel is left."""
    seen = np.unique(labels[labels > 0])
    table = np.zeros(len(kinds) + 2, np.int32)
    table[seen] = np.arange(1, len(seen) + 1)
    table[-1] = IGNORED
    return table[labels], kinds[seen - 1]


def filled(ring: FloatArray, size: Size) -> Mask:
    """Pixels whose centre lies in an outline, by the even-odd rule.

    A centre on a left or upper edge is inside, on a right or lower edge outside, so that outlines
    that share an edge share no pixel.

    Args:
        ring: (points, 2) corners (x, y) in pixels, the last is joined to the first.
        size: (height, width) of the image.

    Example:
        >>> filled(np.array([[0.5, -0.5], [2.5, -0.5], [2.5, 0.5], [0.5, 0.5]]), (1, 4)).tolist()
        [[False, True, True, False]]
    """
    height, width = size
    x0, y0 = ring.T
    x1, y1 = np.roll(ring, -1, 0).T
    found = np.zeros((height, width + 1), bool)
    low = max(0, int(np.ceil(min(y0.min(), height))))
    high = min(height - 1, int(np.floor(max(y0.max(), -1.0))))
    for y in range(low, high + 1):
        crosses = (y0 <= y) != (y1 <= y)
        share = (y - y0[crosses]) / (y1[crosses] - y0[crosses])
        places = x0[crosses] + share * (x1[crosses] - x0[crosses])
        first = np.ceil(places).clip(0, width).astype(np.int64)
        np.logical_xor.at(found[y], first, True)
    return np.logical_xor.accumulate(found, axis=1)[:, :width]


def from_runs(runs: Sequence[int], size: Size) -> Mask:
    """Pixels of runs, outside first, down the columns from the left.

    Args:
        runs: lengths that add up to the pixels of the image.
        size: (height, width) of the image.

    Example:
        >>> from_runs((1, 2, 3), (2, 3)).tolist()
        [[False, True, False], [True, False, False]]
    """
    height, width = size
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, np.asarray(runs, np.int64)).reshape(width, height).T


def unpacked(text: str) -> tuple[int, ...]:
    """Runs from the text that COCO files pack them into.

    Each character holds 5 bits and whether more follow, the least first, counted from '0'; the last
    has the sign. From the fourth on a run is written as the difference to the one two before it.

    Args:
        text: of an RLE's `counts`.

    Raises:
        ValueError: this is no such text.

    Example:
        >>> unpacked("152")
        (1, 5, 2)
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"the character {character!r} is in no such text")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    if shift or min(runs, default=0) < 0:
        raise ValueError("the text ends within a number, or holds a negative run")
    return tuple(runs)
