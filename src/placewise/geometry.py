"""The one coordinate convention, in 1, 2 and 3 dimensions.

x points right, y points down, z points away, counting starts at 0 and **an integer is the centre
of a pixel**: an image of width W spans −½ … W−½. A map of stride s has its pixel i over the image's
pixels i·s … i·s + s − 1, so

    x_image = (x_map + ½) · s − ½        x_map = (x_image + ½) / s − ½

The same rule per axis scales images; the scale of an axis is always the exact ratio of the two
sizes, never the ratio that was asked for.

Points are arrays (..., axes) of (x), (x, y) or (x, y, z). Sizes are in the order of an array's
axes, which is the other way round: (width), (height, width) or (depth, height, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PIXEL_CONVENTION = "x right, y down, 0-based, integer = pixel centre"

Size = tuple[int, ...]
"""Length of each axis in pixels, in the order of an array's axes: (height, width) of an image."""

FloatArray = NDArray[np.float64]
Points = TypeVar("Points", FloatArray, Tensor)

Each = float | Sequence[float]
"""One number for all axes, or one for each in the order of the coordinates: (x, y, …)."""


def rescale(points: Points, ratio: Each) -> Points:
    """Move points from one grid to another that has `ratio` times its pixels.

    Args:
        points: (..., axes) array or tensor of (x, y, …) in pixels of the first grid.
        ratio: pixels of the second grid for one pixel of the first; one number or (x, y, …).

    Returns:
        The points in pixels of the second grid: (p + ½) · ratio − ½.

    Example:
        >>> rescale(np.array([[0.0, 3.0]]), 2.0)
        array([[0.5, 6.5]])
        >>> rescale(np.array([[0.0, 3.0, 1.0]]), (1.0, 2.0, 4.0))
        array([[0. , 6.5, 5.5]])
    """
    factor: FloatArray | Tensor | float
    if isinstance(ratio, Sequence):
        factor = points.new_tensor(ratio) if isinstance(points, Tensor) else np.asarray(ratio)
    else:
        factor = ratio
    return (points + 0.5) * factor - 0.5


def to_map(points: Points, stride: Each) -> Points:
    """Image pixels to pixels of a map of this stride: x_map = (x + ½) / s − ½.

    Args:
        points: (..., axes) array or tensor of (x, y, …).
        stride: image pixels for one pixel of the map; one number or (x, y, …).

    Example:
        >>> to_map(np.array([[1.5, 0.0]]), 4)
        array([[ 0.   , -0.375]])
    """
    if isinstance(stride, Sequence):
        return rescale(points, [1.0 / step for step in stride])
    return rescale(points, 1.0 / stride)


def to_image(points: Points, stride: Each) -> Points:
    """Pixels of a map of this stride to image pixels: x = (x_map + ½) · s − ½.

    Args:
        points: (..., axes) array or tensor of (x, y, …).
        stride: image pixels for one pixel of the map; one number or (x, y, …).

    Example:
        >>> to_image(np.array([[0.0, 1.0]]), 4)
        array([[1.5, 5.5]])
    """
    if isinstance(stride, Sequence):
        return rescale(points, [float(step) for step in stride])
    return rescale(points, float(stride))


def ratio_of(source: Size, target: Size) -> tuple[float, ...]:
    """Exact (x, y, …) ratio between two sizes of the same image.

    Example:
        >>> ratio_of((480, 640), (240, 321))
        (0.5015625, 0.5)
    """
    return tuple(after / before for before, after in zip(source, target, strict=True))[::-1]


def inside(points: FloatArray, size: Size) -> NDArray[np.bool_]:
    """Which points lie on the image, −½ … W−½ along each axis; NaN does not.

    Example:
        >>> inside(np.array([[-0.5, 0.0], [4.6, 1.0]]), (3, 5)).tolist()
        [True, False]
    """
    limit = np.array(size[::-1]) - 0.5
    return np.asarray(((points >= -0.5) & (points <= limit)).all(-1))


def border_distance(points: FloatArray, size: Size) -> FloatArray:
    """Distance in pixels from a point to the nearest edge of its image; negative outside.

    Example:
        >>> border_distance(np.array([[0.0, 1.0]]), (3, 5))
        array([0.5])
    """
    far = np.array(size[::-1]) - 0.5
    distance: FloatArray = np.minimum(points + 0.5, far - points).min(-1)
    return distance


def to_cells(maps: Tensor, side: int) -> Tensor:
    """Lay the pixels of each cell of `side` pixels per axis into channels; nothing is lost.

    `torch.nn.functional.pixel_unshuffle` in 1, 2 and 3 dimensions.

    Args:
        maps: (batch, channels, *size), sizes multiples of `side`.
        side: pixels of a cell along each axis.

    Returns:
        (batch, channels · side^axes, *size / side); the channels of a cell are together.

    Example:
        >>> to_cells(torch.arange(6.0).view(1, 1, 6), 2)[0].tolist()
        [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    """
    axes = maps.ndim - 2
    if axes == 2:
        return torch.nn.functional.pixel_unshuffle(maps, side)
    for axis in range(axes):
        maps = torch.unflatten(maps, 2 + 2 * axis, (-1, side))
    order = [0, 1, *range(3, 3 + 2 * axes, 2), *range(2, 2 + 2 * axes, 2)]
    return maps.permute(order).flatten(1, 1 + axes)


def from_cells(maps: Tensor, side: int) -> Tensor:
    """The inverse of `to_cells`: `torch.nn.functional.pixel_shuffle` in 1, 2 and 3 dimensions.

    Args:
        maps: (batch, channels · side^axes, *size).
        side: pixels of a cell along each axis.

    Returns:
        (batch, channels, *size · side).

    Example:
        >>> from_cells(torch.tensor([[[0.0, 2.0], [1.0, 3.0]]]), 2).tolist()
        [[[0.0, 1.0, 2.0, 3.0]]]
    """
    axes = maps.ndim - 2
    if axes == 2:
        return torch.nn.functional.pixel_shuffle(maps, side)
    cells = torch.unflatten(maps, 1, (-1, *[side] * axes))
    order = [0, 1, *(2 + k for axis in range(axes) for k in (axes + axis, axis))]
    cells = cells.permute(order)
    for axis in range(axes):
        cells = cells.flatten(2 + axis, 3 + axis)
    return cells
