"""Volumes as three slices at right angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VIEWS = ((0, 1), (0, 2), (1, 2))
"""Coordinates along the columns and the rows of each slice: x and y, x and z, y and z."""

NAMES = "xyz"


@dataclass(frozen=True)
class Slice:
    """A plane of a volume.

    Attributes:
        image: (rows, columns, channels).
        axes: coordinates along its columns and along its rows, by their numbers.
        title: where it lies, and what runs along its sides.
    """

    image: NDArray[Any]
    axes: tuple[int, int]
    title: str


def slices(volume: NDArray[Any], place: Sequence[float] | None = None) -> list[Slice]:
    """Three slices through a place, each at right angles to an axis.

    Args:
        volume: (depth, height, width, channels).
        place: (x, y, z) in voxels; None: the middle.

    Example:
        >>> [one.image.shape for one in slices(np.zeros((3, 4, 5, 1)))]
        [(4, 5, 1), (3, 5, 1), (3, 4, 1)]
        >>> slices(np.zeros((3, 4, 5, 1)))[0].title
        'z = 1 · x right, y down'
    """
    sides = volume.shape[2::-1]
    middle = [(side - 1) // 2 for side in sides] if place is None else place
    found = []
    for across, down in VIEWS:
        (through,) = {0, 1, 2} - {across, down}
        at = int(np.clip(round(middle[through]), 0, sides[through] - 1))
        title = f"{NAMES[through]} = {at} · {NAMES[across]} right, {NAMES[down]} down"
        found.append(Slice(np.take(volume, at, axis=2 - through), (across, down), title))
    return found
