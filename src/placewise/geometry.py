"""The one coordinate convention.

x points right, y points down, counting starts at 0 and **an integer is the centre of a pixel**:
an image of width W spans −½ … W−½. A map of stride s has its pixel i over the image's pixels
i·s … i·s + s − 1, so

    x_image = (x_map + ½) · s − ½        x_map = (x_image + ½) / s − ½

The same rule per axis scales images; the scale of an axis is always the exact ratio of the two
sizes, never the ratio that was asked for. Points are arrays (..., 2) of (x, y); sizes are
(height, width).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

PIXEL_CONVENTION = "x right, y down, 0-based, integer = pixel centre"

Size = tuple[int, int]
"""(height, width) in pixels."""

FloatArray = NDArray[np.float64]
Points = TypeVar("Points", FloatArray, torch.Tensor)


def rescale(points: Points, ratio: float | tuple[float, float]) -> Points:
    """Move points from one grid to another that has `ratio` times its pixels.

    Args:
        points: (..., 2) array or tensor of (x, y) in pixels of the first grid.
        ratio: pixels of the second grid for one pixel of the first; one number or (x, y).

    Returns:
        The points in pixels of the second grid: (p + ½) · ratio − ½.

    Example:
        >>> rescale(np.array([[0.0, 3.0]]), 2.0)
        array([[0.5, 6.5]])
    """
    factor: FloatArray | torch.Tensor | float
    if isinstance(ratio, tuple):
        factor = points.new_tensor(ratio) if isinstance(points, torch.Tensor) else np.asarray(ratio)
    else:
        factor = ratio
    return (points + 0.5) * factor - 0.5


def to_map(points: Points, stride: float) -> Points:
    """Image pixels to pixels of a map of this stride: x_map = (x + ½) / s − ½.

    Example:
        >>> to_map(np.array([[1.5, 0.0]]), 4)
        array([[ 0.   , -0.375]])
    """
    return rescale(points, 1.0 / stride)


def to_image(points: Points, stride: float) -> Points:
    """Pixels of a map of this stride to image pixels: x = (x_map + ½) · s − ½.

    Example:
        >>> to_image(np.array([[0.0, 1.0]]), 4)
        array([[1.5, 5.5]])
    """
    return rescale(points, float(stride))


def ratio_of(source: Size, target: Size) -> tuple[float, float]:
    """Exact (x, y) ratio between two sizes of the same image.

    Example:
        >>> ratio_of((480, 640), (240, 321))
        (0.5015625, 0.5)
    """
    return target[1] / source[1], target[0] / source[0]


def inside(points: FloatArray, size: Size) -> NDArray[np.bool_]:
    """Which points lie on the image, −½ … W−½ and −½ … H−½; NaN does not.

    Example:
        >>> inside(np.array([[-0.5, 0.0], [4.6, 1.0]]), (3, 5)).tolist()
        [True, False]
    """
    limit = np.array([size[1] - 0.5, size[0] - 0.5])
    return np.asarray(((points >= -0.5) & (points <= limit)).all(-1))


def border_distance(points: FloatArray, size: Size) -> FloatArray:
    """Distance in pixels from a point to the nearest edge of its image; negative outside.

    Example:
        >>> border_distance(np.array([[0.0, 1.0]]), (3, 5))
        array([0.5])
    """
    far = np.array([size[1] - 0.5, size[0] - 0.5])
    distance: FloatArray = np.minimum(points + 0.5, far - points).min(-1)
    return distance
