"""Marks drawn from their signed distances.

A mark is the distance d of every pixel's centre from its edge, negative inside. Grown by w, it
covers ½ + w − d of a pixel, cut to 0..1, so it lies exactly where its numbers say, to a small part
of a pixel. Several inks lie about each other like the skins of an onion: each gets what it covers
beyond the next, and so the sum is right also where two edges cross one pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.report.style import RGB, mark

Overlay = NDArray[np.uint8]
"""(height, width, 3) RGB."""

Distance = Callable[[FloatArray, FloatArray], FloatArray]
"""Signed distance in pixels at places (x, y) that are broadcast against each other."""

Skin = tuple[float, RGB, float]
"""How far in pixels it reaches beyond the edge, its ink, and its opacity."""

BLACK, WHITE = (16, 16, 16), (255, 255, 255)


def draw_keypoint(
    canvas: Overlay,
    point: FloatArray,
    index: int,
    radius: float,
    *,
    hollow: bool = False,
    colour: RGB | None = None,
    shape: str | None = None,
) -> None:
    """Draw the mark of a point: its colour within a white and a black rim, or hollow.

    Args:
        canvas: drawn on.
        point: (2,) of (x, y) in pixels of the canvas; NaN is not drawn.
        index: place of the point among the names.
        radius: in pixels, without the rims.
        hollow: draw a ring.
        colour: of its object, instead of that of the point.
        shape: of the mark, instead of that of the point; see `style.OBJECT_SHAPES`.

    Example:
        >>> canvas = np.zeros((3, 3, 3), np.uint8)
        >>> draw_keypoint(canvas, np.array([1.0, 1.0]), 0, 4.0)
        >>> canvas[1, 1].tolist()
        [86, 180, 233]
    """
    own, usual = mark(index)
    distance, rim = _shape(shape or usual, point, radius), max(1.0, radius / 4)
    more = 0.5 * rim if hollow else 0.0
    skins = [(1.8 * rim, BLACK, 1.0), (rim, WHITE, 1.0), (0.0, colour or own, 1.0)]
    skins = [(reach + more, ink, opacity) for reach, ink, opacity in skins]
    box = _box(point, point, 1.5 * radius + 3 * rim)
    _paint(canvas, box, _hull(distance) if hollow else distance, skins)


def draw_circle(
    canvas: Overlay, point: FloatArray, radius: float, colour: RGB, unit: float
) -> None:
    """Draw a thin circle about a point; NaN is not drawn.

    Args:
        canvas: drawn on.
        point: (2,) of (x, y) in pixels of the canvas.
        radius: in pixels of the canvas.
        colour: of the circle.
        unit: thickness that belongs to this size of canvas, in pixels.

    Example:
        >>> canvas = np.zeros((3, 9, 3), np.uint8)
        >>> draw_circle(canvas, np.array([1.0, 1.0]), 5.0, WHITE, 1.0)
        >>> canvas[1, :, 0].tolist()
        [0, 0, 0, 0, 0, 44, 255, 44, 0]
    """
    edge = _hull(_shape("disc", point, radius))
    _paint(canvas, _box(point, point, radius + 2 * unit), edge, _thin(colour, unit))


def draw_line(
    canvas: Overlay, start: FloatArray, stop: FloatArray, colour: RGB, unit: float
) -> None:
    """Draw a thin line between two points (2,); NaN is not drawn.

    Example:
        >>> canvas = np.zeros((5, 3, 3), np.uint8)
        >>> draw_line(canvas, np.array([-9.0, 2.0]), np.array([9.0, 2.0]), WHITE, 1.0)
        >>> canvas[:, 1, 0].tolist()
        [0, 44, 255, 44, 0]
    """
    _paint(canvas, _box(start, stop, 2 * unit), _segment(start, stop), _thin(colour, unit))


def draw_cross(canvas: Overlay, point: FloatArray, unit: float) -> None:
    """Draw a small white cross at a point (2,); NaN is not drawn.

    Example:
        >>> canvas = np.zeros((9, 9, 3), np.uint8)
        >>> draw_cross(canvas, np.array([4.0, 4.0]), 1.0)
        >>> canvas[4, 1, 0] == canvas[1, 4, 0] == 255
        np.True_
    """
    across, down = np.array([4.0 * unit, 0.0]), np.array([0.0, 4.0 * unit])
    arms = _segment(point - across, point + across), _segment(point - down, point + down)
    skins = [(1.6 * unit, BLACK, 1.0), (0.6 * unit, WHITE, 1.0)]
    _paint(canvas, _box(point, point, 7 * unit), _either(*arms), skins)


def _thin(colour: RGB, unit: float) -> list[Skin]:
    """A coloured line within a dark one, which is half transparent."""
    return [(1.4 * unit, BLACK, 0.5), (0.65 * unit, colour, 1.0)]


def _shape(shape: str, point: FloatArray, radius: float) -> Distance:
    """Distance from the edge of a mark whose area is about that of a disc of this radius."""

    def distance(x: FloatArray, y: FloatArray) -> FloatArray:
        across, down = np.abs(x - point[0]), np.abs(y - point[1])
        if shape == "square":
            return np.asarray(np.maximum(across, down) - 0.9 * radius)
        if shape == "diamond":
            return np.asarray(across + down - 1.25 * radius)
        if shape in ("triangle", "wedge"):  # its tip is above, or below
            below = (y - point[1]) * (1 if shape == "triangle" else -1)
            return np.asarray(np.maximum(below, 0.866 * across - 0.5 * below) - 0.75 * radius)
        if shape == "plus":
            long, wide = 1.25 * radius, 0.5 * radius
            arms = np.maximum(across - long, down - wide), np.maximum(across - wide, down - long)
            return np.asarray(np.minimum(*arms))
        return np.asarray(np.hypot(across, down) - radius)

    return distance


def _segment(start: FloatArray, stop: FloatArray) -> Distance:
    """Distance from the line between two points."""
    along = stop - start
    squared = max(float(along @ along), 1e-12)

    def distance(x: FloatArray, y: FloatArray) -> FloatArray:
        share = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / squared, 0, 1)
        apart = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
        return np.asarray(apart)

    return distance


def _hull(distance: Distance) -> Distance:
    """Distance from the edge alone, so that the inside stays empty."""
    return lambda x, y: np.abs(distance(x, y))


def _either(one: Distance, other: Distance) -> Distance:
    """Distance from the nearer of two marks."""
    return lambda x, y: np.minimum(one(x, y), other(x, y))


def _box(start: FloatArray, stop: FloatArray, reach: float) -> FloatArray:
    """(2, 2): the lowest and the highest (x, y) within `reach` of either point."""
    return np.stack([np.minimum(start, stop) - reach, np.maximum(start, stop) + reach])


def _paint(canvas: Overlay, box: FloatArray, distance: Distance, skins: Sequence[Skin]) -> None:
    """Blend inks into a box of the canvas; the skins go from the outermost to the innermost."""
    if not np.isfinite(box).all():
        return
    limit = canvas.shape[1], canvas.shape[0]
    left, top = np.clip(np.floor(box[0]), 0, limit).astype(int).tolist()
    right, bottom = np.clip(np.ceil(box[1]) + 1, 0, limit).astype(int).tolist()
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float64)[None, :]
    y = np.arange(top, bottom, dtype=np.float64)[:, None]
    apart = distance(x, y)[..., None]
    covers = [np.clip(0.5 + reach - apart, 0, 1) for reach, _, _ in skins] + [np.zeros(1)]
    part = canvas[top:bottom, left:right]
    mixed = part.astype(np.float64)
    for (_, ink, opacity), cover, inner in zip(skins, covers[:-1], covers[1:], strict=True):
        mixed += opacity * (cover - inner) * (np.array(ink, dtype=np.float64) - part)
    part[:] = np.rint(mixed).astype(np.uint8)
