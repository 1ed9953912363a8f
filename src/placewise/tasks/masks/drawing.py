"""Masks on images: outlines, and what is right, missed and invented."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.images import ImageArray
from placewise.report.drawing import SIDE, as_rgb, at_size
from placewise.report.marks import WHITE, Overlay
from placewise.report.outlines import draw_outline, error_map
from placewise.report.style import mark

GAP = 6
"""Pixels between two panels."""

PLANES = 3
"""Slices of a volume that are drawn."""

STRIP = 48
"""Height in pixels of a signal that is drawn as a strip."""

Numbers = NDArray[Any]


def outlined(pixels: ImageArray, mask: Numbers, truth: Numbers | None = None) -> Overlay:
    """An image with solid outlines of the classes, and dashed white ones of the truth.

    Of a volume some slices are shown from first to last, of a signal a strip.

    Args:
        pixels: (*size, channels).
        mask: (*size,) of classes.
        truth: the same of the labels; None: none are known.

    Example:
        >>> outlined(np.zeros((60, 80, 1), np.uint8), np.zeros((60, 80), int)).shape
        (360, 480, 3)
    """
    return _row([_outlined(*plane) for plane in _planes(pixels, mask, truth)])


def compared(pixels: ImageArray, mask: Numbers, truth: Numbers) -> Overlay:
    """Beside the outlines, what is right, missed and invented.

    Args:
        pixels: (*size, channels).
        mask: (*size,) of classes.
        truth: (*size,) of the labels, −1 ignored.

    Example:
        >>> compared(np.zeros((60, 80, 1), np.uint8), *np.zeros((2, 60, 80), int)).shape
        (360, 966, 3)
    """
    panels = []
    for shown, found, labelled in _planes(pixels, mask, truth):
        true = found if labelled is None else labelled
        right = (found > 0) & (found == true)
        image = error_map(as_rgb(shown), true > 0, right | ((found > 0) & (true == 0)), true >= 0)
        panels += [_outlined(shown, found, true), at_size(image, SIDE)]
    return _row(panels)


def _outlined(pixels: ImageArray, mask: Numbers, truth: Numbers | None) -> Overlay:
    canvas = at_size(as_rgb(pixels), SIDE)
    unit = max(1.5, float(np.hypot(*canvas.shape[:2])) / 1000)
    if truth is not None:
        for number in np.unique(truth[truth > 0]).tolist():
            draw_outline(canvas, truth == number, WHITE, unit, dashed=True)
    for number in np.unique(mask[mask > 0]).tolist():
        draw_outline(canvas, mask == number, mark(number - 1)[0], unit)
    return canvas


def _planes(
    pixels: ImageArray, mask: Numbers, truth: Numbers | None
) -> list[tuple[ImageArray, Numbers, Numbers | None]]:
    """What is drawn of an image, of a volume, or of a signal: planes with their masks."""
    if mask.ndim == 2:
        return [(pixels, mask, truth)]
    pixels = _stretched(pixels)
    if mask.ndim == 1:
        flat = [None if a is None else np.repeat(a[None], STRIP, 0) for a in (pixels, mask, truth)]
        return [(flat[0], flat[1], flat[2])]  # type: ignore[list-item]
    seen = mask if truth is None else np.maximum(mask, truth)
    per = (seen > 0).sum((1, 2)).cumsum()
    at = np.searchsorted(per, per[-1] * (np.arange(PLANES) + 0.5) / PLANES)
    slices = dict.fromkeys(at.clip(0, len(mask) - 1).tolist())
    return [(pixels[z], mask[z], None if truth is None else truth[z]) for z in slices]


def _stretched(values: ImageArray) -> ImageArray:
    """A signal or a volume as grey in 0..1, between its 0.1 and 99.9 percent."""
    grey = np.asarray(values, np.float64).mean(-1, keepdims=True)
    low, high = np.percentile(grey, [0.1, 99.9])
    return np.asarray((grey - low) / max(float(high - low), 1e-9), np.float32).clip(0, 1)


def _row(panels: list[Overlay]) -> Overlay:
    """Panels side by side."""
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)]
    return np.concatenate(parts[1:], 1)
