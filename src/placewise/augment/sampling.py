"""What a warp does to an image and to the points on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.augment.warps import Coordinates, Warp, require_warp
from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size, inside
from placewise.images import as_float
from placewise.labels import IGNORED, Visibility

Fill: TypeAlias = Literal["replicate", "zeros", "reflect"] | float
"""What stands beyond the source: its outermost pixel, 0, its mirror image, or a value in 0..1."""

_MODES = {"replicate": "border", "zeros": "zeros", "reflect": "reflection"}


def warp_image(image: NDArray[Any], warp: Warp, fill: Fill = "replicate") -> NDArray[np.float32]:
    """Sample an image once where the warp says, bilinearly.

    There is no guard against aliasing: a warp that shrinks to less than about half skips pixels,
    so shrink with `images.resize` first.

    Args:
        image: (*size, channels) uint8, uint16, or float32 in 0..1, of 1, 2 or 3 axes.
        warp: the geometric change.
        fill: what stands beyond the source. "reflect" mirrors at the outer edge of the outermost
            pixel. Across the source's edge pixels are blended with what stands beyond.

    Returns:
        (*warp.size, channels) float32, in 0..1 where the source was.

    Raises:
        SettingsError: what was given is no warp, or the fill is unknown.

    Example:
        >>> from placewise.augment import flip
        >>> image = np.array([[[0.0], [0.25], [1.0]]], np.float32)
        >>> warp_image(image, flip((1, 3)))[..., 0].round(4)
        array([[1.  , 0.25, 0.  ]], dtype=float32)
    """
    if isinstance(fill, str) and fill not in _MODES:
        raise SettingsError(f"fill '{fill}'; needed one of {', '.join(_MODES)} or a number in 0..1")
    places = _places(require_warp(warp))
    seen = _seen(places, image.shape[:-1], whole=fill == "reflect")
    source, base = as_float(image[tuple(seen)]), np.float32(0)
    if not isinstance(fill, str):
        source, base = source - np.float32(fill), np.float32(fill)
    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(source, -1, 0)))[None]
    grid = torch.from_numpy(_grid(places, seen, warp.size))[None]
    signal = planes.ndim == 3  # torch samples maps of two and three axes
    if signal:
        planes, grid = planes[:, :, None], torch.nn.functional.pad(grid, (0, 1))[:, None]
    sampled = torch.nn.functional.grid_sample(
        planes,
        grid,
        padding_mode=_MODES[fill] if isinstance(fill, str) else "zeros",
        align_corners=False,
    )
    shown = np.ascontiguousarray((sampled[0, :, 0] if signal else sampled[0]).movedim(0, -1))
    return shown + base if base else shown


def warp_labels(
    labels: NDArray[np.integer[Any]], warp: Warp, outside: int = IGNORED
) -> NDArray[np.integer[Any]]:
    """Sample numbers of classes or objects once where the warp says: that of the nearest pixel.

    Numbers are never blended: between 0 and 2 lies no 1. In 1, 2 and 3 dimensions alike.

    Args:
        labels: (*size,) whole numbers.
        warp: the geometric change.
        outside: what lies beyond the source; by default `IGNORED`.

    Returns:
        (*warp.size,) of the same type.

    Raises:
        SettingsError: what was given is no warp.

    Example:
        >>> from placewise.augment import translate
        >>> warp_labels(np.array([[1, 0, 2]], np.int32), translate((1, 3), 1, 0)).tolist()
        [[-1, 1, 0]]
    """
    sides = [np.arange(side, dtype=np.float64) for side in require_warp(warp).size]
    places = np.meshgrid(*sides, indexing="ij", sparse=True)[::-1]
    nearest = [np.floor(place + 0.5).astype(np.int64) for place in warp.pull(*places)][::-1]
    there: NDArray[np.bool_] = np.ones((1,) * labels.ndim, bool)
    for index, length in zip(nearest, labels.shape, strict=True):
        there = there & (index >= 0) & (index < length)
    inner = [i.clip(0, length - 1) for i, length in zip(nearest, labels.shape, strict=True)]
    return np.where(there, labels[tuple(inner)], np.asarray(outside, labels.dtype))


def _places(warp: Warp) -> tuple[Coordinates, ...]:
    """x, y, … in pixels of the source that each pixel of the output shows."""
    sides = [np.arange(side, dtype=np.float32) for side in warp.size]
    return warp.pull(*np.meshgrid(*sides, indexing="ij", sparse=True)[::-1])


def _seen(places: Sequence[Coordinates], size: Size, *, whole: bool) -> list[slice]:
    """The part of the source, along each of its axes, that the output is blended from.

    Where places lie beyond the border, it reaches to the border: what stands there is the same.

    Args:
        places: x, y, … in pixels of the source.
        size: of the source.
        whole: all of it is wanted.
    """
    if whole:
        return [slice(0, side) for side in size]
    seen = []
    for place, side in zip(places[::-1], size, strict=True):
        least, most = float(place.min()), float(place.max())
        low = int(np.clip(np.floor(least), 0, side - 1))
        seen.append(slice(low, int(np.clip(np.floor(most) + 2, low + 1, side))))
    return seen


def _grid(places: Sequence[Coordinates], seen: Sequence[slice], size: Size) -> NDArray[np.float32]:
    """(*size, axes) places in a part of the source, in torch's unit: x = −½ is −1, W − ½ is 1."""
    grid = np.empty((*size, len(places)), np.float32)
    for axis, (place, part) in enumerate(zip(places, seen[::-1], strict=True)):
        unit = 2 / (part.stop - part.start)
        np.multiply(place, np.float32(unit), out=grid[..., axis])
        grid[..., axis] += np.float32((0.5 - part.start) * unit - 1)
    return grid


def move_points(
    points: FloatArray,
    visibility: NDArray[np.int8],
    warp: Warp,
    swap: NDArray[np.intp] | None = None,
) -> tuple[FloatArray, NDArray[np.int8]]:
    """Move points as the warp moves the pixels under them.

    A located point that leaves the output becomes `Visibility.ABSENT`. Where the warp mirrors,
    points change places with their counterparts: after it the left ear is where the right one was.

    Args:
        points: (..., points, axes) of (x, y, …) in pixels of the source, NaN where not located.
        visibility: (..., points) of `Visibility`.
        warp: the geometric change.
        swap: (points,) permutation: which point each one becomes when the image is mirrored;
            None where none changes places.

    Returns:
        points in pixels of the output, NaN where not located there, and states.

    Raises:
        SettingsError: what was given is no warp, or it moves points otherwise than pixels, or
            `swap` is no permutation.

    Example:
        >>> from placewise.augment import translate
        >>> points, visibility = np.array([[1.0, 1.0], [3.0, 0.0]]), np.array([3, 3], np.int8)
        >>> move_points(points, visibility, translate((4, 4), 2, 0))
        (array([[ 3.,  1.], [nan, nan]]), array([3, 1], dtype=int8))
    """
    located = visibility >= Visibility.HIDDEN
    moved = np.full(points.shape, np.nan)
    moved[located] = _follow(np.asarray(points[located], dtype=np.float64), require_warp(warp))
    left = located & ~inside(moved, warp.size)
    moved[left] = np.nan
    known = np.where(left, np.int8(Visibility.ABSENT), visibility)
    if swap is not None and warp.mirrors:
        if sorted(swap) != list(range(visibility.shape[-1])):
            raise SettingsError(
                f"points change places by {list(swap)}; needed each of 0 to "
                f"{visibility.shape[-1] - 1} once; check the pairs of symmetry"
            )
        moved, known = moved[..., swap, :], known[..., swap]
    return moved, known


def _follow(points: FloatArray, warp: Warp) -> FloatArray:
    """The points moved, and the proof that the pixels moved with them: back again they are home."""
    moved = warp.forward(points)
    if moved.shape != points.shape:
        raise SettingsError(
            f"{type(warp).__name__} turns points {points.shape} into {moved.shape}; "
            "needed as many; mend its `forward`"
        )
    seen = np.isfinite(moved).all(-1)
    far = np.abs(moved[seen]).max(-1, initial=0)
    away = np.abs(warp.backward(moved[seen]) - points[seen]).max(-1, initial=0)
    if not (away < 0.01 + 1e-6 * far).all():  # far beyond the frame digits are lost
        raise SettingsError(
            f"{type(warp).__name__} moves points otherwise than pixels, by {away.max():.3g} px; "
            "needed `forward` to be the inverse of `pull`; mend the warp"
        )
    return moved
