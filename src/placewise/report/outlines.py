"""Outlines of masks on images, and maps of what is right, missed and invented.

An outline runs along the outside of its mask, so that it does not hide what is a few pixels wide.
It is drawn from the signed distance to the mask's edge, and so is smooth at any size of drawing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.images import resize
from placewise.report.marks import BLACK, Overlay
from placewise.report.style import RGB

Mask = NDArray[np.bool_]

RIGHT, MISSED, INVENTED = (235, 235, 235), (240, 120, 0), (40, 170, 255)
"""Colours of pixels that are right, that are missed, and that are found though they are none."""

DASH = 7.0
"""Pixels of a drawing of usual size after which a dashed line is drawn or left out."""

DIM = 0.35
"""Share of an image's brightness that is left below a map of what is right."""


def signed_distance(mask: Mask) -> FloatArray:
    """(height, width) distance in pixels from the edge of a mask, negative inside.

    Example:
        >>> signed_distance(np.array([[True, True, False, False]])).tolist()
        [[-1.5, -0.5, 0.5, 1.5]]
    """
    from scipy import ndimage

    if not mask.any() or mask.all():
        return np.full(mask.shape, -np.inf if mask.any() else np.inf)
    outside = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask)
    found: FloatArray = np.where(mask, 0.5 - inside, outside - 0.5)
    return found


def draw_outline(
    canvas: Overlay, mask: Mask, colour: RGB, unit: float, *, dashed: bool = False
) -> None:
    """Draw a line around a mask, dark at its rim so that it is seen on every ground.

    Args:
        canvas: drawn on; of the size of the mask, or larger or smaller in the same shape.
        mask: (height, width) of the image.
        colour: of the line.
        unit: thickness in pixels of the canvas.
        dashed: leave out every second piece.

    Example:
        >>> canvas = np.zeros((3, 9, 3), np.uint8)
        >>> draw_outline(canvas, np.eye(3, 9, dtype=bool), (255, 255, 255), 1.0)
        >>> bool(canvas.any())
        True
    """
    if not mask.any() or mask.all():
        return
    size = (canvas.shape[0], canvas.shape[1])
    ratio = size[1] / mask.shape[1]
    near = np.clip(signed_distance(mask), -8, 8 + 4 * unit / ratio)
    away = resize(near[..., None].astype(np.float32), size)[..., 0] * ratio - unit / 2
    line = np.clip(0.5 + unit / 2 - np.abs(away), 0, 1)
    rim = np.clip(0.5 + unit - np.abs(away), 0, 1)
    if dashed:
        y, x = np.mgrid[: size[0], : size[1]]
        shown = ((x + y) // (DASH * unit)) % 2 == 0
        line, rim = line * shown, rim * shown
    _blend(canvas, BLACK, 0.6 * rim)
    _blend(canvas, colour, line)


def error_map(image: Overlay, truth: Mask, found: Mask, known: Mask | None = None) -> Overlay:
    """A dim grey image with the pixels that are right, missed and invented in three colours.

    Args:
        image: (height, width, 3).
        truth: (height, width) pixels that are labelled.
        found: (height, width) pixels that are predicted.
        known: (height, width) pixels that are not ignored; None: all.

    Example:
        >>> grey = np.full((1, 3, 3), 100, np.uint8)
        >>> one, two = np.array([[1, 1, 0]], bool), np.array([[1, 0, 0]], bool)
        >>> error_map(grey, one, two)[0].tolist()
        [[235, 235, 235], [240, 120, 0], [35, 35, 35]]
    """
    grey = np.rint(image.mean(2, keepdims=True) * DIM)
    canvas: Overlay = np.repeat(grey, 3, 2).astype(np.uint8)
    here = np.ones(truth.shape, bool) if known is None else known
    canvas[here & truth & found] = RIGHT
    canvas[here & truth & ~found] = MISSED
    canvas[here & ~truth & found] = INVENTED
    return canvas


def _blend(canvas: Overlay, colour: RGB, cover: FloatArray) -> None:
    mixed = canvas + cover[..., None] * (np.array(colour, np.float64) - canvas)
    canvas[:] = np.rint(mixed).astype(np.uint8)
