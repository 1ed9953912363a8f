"""Smooth random deformations of images, to measure how answers follow them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from placewise.geometry import FloatArray

CUT, PUSH = 3, 1.0
"""Highest wave number of a deformation, and its root mean square in pixels."""

DEFORMED = 256
"""Images that are deformed, at most."""

REPEATED = 40
"""Steps by which a deformation is followed; each divides what is left by two or more."""

Number = TypeVar("Number", np.float32, np.float64)


def smooth_field(
    rng: np.random.Generator, size: Sequence[int], *, cut: int = CUT, push: float = PUSH
) -> FloatArray:
    """A random smooth field of displacements that is 0 at the border.

    Each component is Σ C_ij · sin(iπu) · sin(jπv) over i² + j² ≤ cut², with normal C_ij of variance
    T / (i² + j²); T gives the displacements a root mean square of `push`.

    Args:
        rng: random numbers.
        size: (height, width).
        cut: highest wave number.
        push: root mean square of the displacements, in pixels.

    Returns:
        (height, width, 2) of (x, y) in pixels.

    Example:
        >>> smooth_field(np.random.default_rng(0), (28, 28)).shape
        (28, 28, 2)
    """
    numbers = np.arange(1, cut + 1)
    squares = (numbers[:, None] ** 2 + numbers**2).astype(np.float64)
    variance = np.where(squares <= cut**2, 1 / squares, 0.0)
    variance *= push**2 / (2 * variance.sum() / 4)
    waves = [np.sin(np.pi * numbers[:, None] * (np.arange(side) + 0.5) / side) for side in size]
    drawn = rng.normal(size=(2, cut, cut)) * np.sqrt(variance)
    field: FloatArray = np.einsum("cij,ih,jw->hwc", drawn, *waves)
    return field


def deform(image: NDArray[Any], field: FloatArray) -> NDArray[np.float32]:
    """An image whose pixel p shows what was at p − field(p), read bilinearly.

    Args:
        image: (h, w, channels).
        field: (h, w, 2) of (x, y) in pixels.
    """
    rows, columns = np.indices(image.shape[:2])
    return _read(image.astype(np.float32), np.stack((columns, rows), -1) - field)


def follow(points: FloatArray, field: FloatArray) -> FloatArray:
    """Where `deform` brings what was at points: the q with q − field(q) = p, by repetition.

    Args:
        points: (points, 2) of (x, y) in pixels.
        field: (h, w, 2) of (x, y) in pixels, steep nowhere by 1 or more.

    Example:
        >>> follow(np.array([[2.0, 1.0]]), np.full((4, 6, 2), (0.5, -0.25)))
        array([[2.5 , 0.75]])
    """
    found = points
    for _ in range(REPEATED):
        found = points + _read(field, found[None])[0]
    return found


def _read(values: NDArray[Number], places: FloatArray) -> NDArray[Number]:
    """Values (h, w, n) at places (rows, columns, 2) of (x, y) in pixels, bilinearly."""
    grid = (places + 0.5) * 2 / (values.shape[1], values.shape[0]) - 1
    there = torch.from_numpy(values).permute(2, 0, 1)[None]
    read = functional.grid_sample(
        there,
        torch.from_numpy(grid)[None].to(there.dtype),
        padding_mode="border",
        align_corners=False,
    )
    found: NDArray[Number] = read[0].permute(1, 2, 0).numpy()
    return found
