"""Volumes as three slices at right angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import Size
from placewise.report.marks import Overlay

VIEWS = ((0, 1), (0, 2), (1, 2))
"""Coordinates along the columns and the rows of each slice: x and y, x and z, y and z."""

NAMES = "xyz"

MOST = 1000
"""Pixels to which a side may be stretched."""


@dataclass(frozen=True)
class Slice:
    """A plane of a volume.

    Attributes:
        image: (rows, columns, channels), stretched so that its pixels are as wide as they are high.
        size: rows and columns of voxels in it.
        axes: coordinates along its columns and along its rows, by their numbers.
        title: where it lies, and what runs along its sides.
        through: coordinate at a right angle to it, by its number.
        at: voxel of that coordinate.
    """

    image: NDArray[Any]
    size: Size
    axes: tuple[int, int]
    title: str
    through: int
    at: int


def shown_sides(size: Sequence[int], spacing: Sequence[float] | None) -> Size:
    """Pixels that a volume takes along each axis if each pixel is as wide, high and deep.

    Args:
        size: in voxels.
        spacing: distance of the voxels along each axis; None: the same along all.

    Example:
        >>> shown_sides((12, 24, 28), (3.0, 1.0, 1.0)), shown_sides((12, 24, 28), None)
        ((36, 24, 28), (12, 24, 28))
    """
    steps = np.ones(len(size)) if spacing is None else np.divide(spacing, min(spacing))
    long = steps * size
    shrunk = min(1.0, max(MOST, *size) / float(long.max()))
    return tuple(max(1, round(float(side) * shrunk)) for side in long)


def stretched(plane: NDArray[Any], size: Size) -> NDArray[Any]:
    """A plane with each of its pixels repeated to fill (rows, columns).

    Example:
        >>> stretched(np.array([[1, 2]]), (2, 4)).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    for axis, side in enumerate(size):
        at = (np.arange(side) + 0.5) * plane.shape[axis] / side
        plane = np.take(plane, at.astype(int), axis)
    return plane


def slices(
    volume: NDArray[Any],
    place: Sequence[float] | None = None,
    spacing: Sequence[float] | None = None,
) -> list[Slice]:
    """Three slices through a place, each at right angles to an axis.

    Args:
        volume: (depth, height, width, channels).
        place: (x, y, z) in voxels; None: the middle.
        spacing: distance of the voxels along each axis; None: the same along all.

    Example:
        >>> [one.image.shape for one in slices(np.zeros((3, 4, 5, 1)))]
        [(4, 5, 1), (3, 5, 1), (3, 4, 1)]
        >>> slices(np.zeros((3, 4, 5, 1)))[0].title
        'z = 1 · x right, y down'
    """
    sides, long = volume.shape[2::-1], shown_sides(volume.shape[:3], spacing)[::-1]
    middle = [(side - 1) // 2 for side in sides] if place is None else place
    found = []
    for across, down in VIEWS:
        (through,) = {0, 1, 2} - {across, down}
        at = int(np.clip(round(middle[through]), 0, sides[through] - 1))
        title = f"{NAMES[through]} = {at} · {NAMES[across]} right, {NAMES[down]} down"
        plane = np.take(volume, at, axis=2 - through)
        shown = stretched(plane, (long[down], long[across]))
        found.append(Slice(shown, plane.shape[:2], (across, down), title, through, at))
    return found


def fullest(labels: NDArray[Any]) -> tuple[int, ...]:
    """(x, y, z) of the slices on which most voxels are labelled, each along its own axis.

    Args:
        labels: (depth, height, width); what is above 0 is labelled.

    Example:
        >>> volume = np.zeros((3, 4, 5))
        >>> volume[2, :3, 1] = 1
        >>> fullest(volume)
        (1, 0, 2)
    """
    there = labels > 0
    if not there.any():
        return tuple((side - 1) // 2 for side in labels.shape[::-1])
    others = [(0, 1), (0, 2), (1, 2)]
    return tuple(int(there.sum(axes).argmax()) for axes in others)


def grey_volume(volume: NDArray[np.generic]) -> Overlay:
    """A volume in 8 bits, stretched between its 0.1 and 99.9 percent; its first channel or three.

    A slice of it keeps the brightness that it has within the whole. One in colours is left as it
    is.
    """
    if volume.dtype == np.uint8 and volume.shape[-1] == 3:
        return volume.astype(np.uint8)
    values = np.asarray(volume[..., :3] if volume.shape[-1] == 3 else volume[..., :1], np.float64)
    low, high = np.percentile(values, [0.1, 99.9])
    shown = (values - low) / max(float(high - low), 1e-12)
    return np.asarray(np.rint(shown.clip(0, 1) * 255), np.uint8)
