"""Masks on images: outlines, and what is right, missed and invented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.images import ImageArray
from placewise.report.drawing import SIDE, as_rgb, at_size, panel_of, side_by_side, stacked
from placewise.report.marks import WHITE, Overlay
from placewise.report.outlines import INVENTED, MISSED, draw_outline, error_map
from placewise.report.slices import fullest, grey_volume, slices
from placewise.report.style import RGB, mark
from placewise.report.traces import AXIS, Row, rows_of

GAP = 6
"""Pixels between two panels."""

LINE = 2.0
"""Pixels of an outline on a slice of a volume."""

BAR = 6
"""Pixels of the bar below a recording where something is labelled."""

GREY: RGB = (150, 150, 150)
"""Ground of a recording where what is found is labelled."""

Numbers = NDArray[Any]


def outlined(
    pixels: ImageArray,
    mask: Numbers,
    truth: Numbers | None = None,
    spacing: Sequence[float] | None = None,
) -> Overlay:
    """An image with solid outlines of the classes, and dashed white ones of the truth.

    Of a volume there are three slices at right angles, where most is masked. A recording is drawn
    as lines on coloured ground, with dark bars below it where something is labelled.

    Args:
        pixels: (*size, channels).
        mask: (*size,) of classes.
        truth: the same of the labels; None: none are known.
        spacing: distance of the pixels along the axes, of a signal in seconds; None: not known.

    Example:
        >>> outlined(np.zeros((60, 80, 1), np.uint8), np.zeros((60, 80), int)).shape
        (360, 480, 3)
    """
    if mask.ndim == 1:
        return _on_rows(pixels, mask, truth, spacing)
    if mask.ndim == 3:
        return _on_slices(pixels, mask, truth, spacing, errors=False)
    return _outlined(pixels, mask, truth)


def compared(
    pixels: ImageArray, mask: Numbers, truth: Numbers, spacing: Sequence[float] | None = None
) -> Overlay:
    """Beside the outlines, or below them, what is right, missed and invented.

    Args:
        pixels: (*size, channels).
        mask: (*size,) of classes.
        truth: (*size,) of the labels, −1 ignored.
        spacing: distance of the pixels along the axes, of a signal in seconds; None: not known.

    Example:
        >>> compared(np.zeros((60, 80, 1), np.uint8), *np.zeros((2, 60, 80), int)).shape
        (360, 966, 3)
    """
    if mask.ndim == 1:
        return _on_rows(pixels, mask, truth, spacing, errors=True)
    if mask.ndim == 3:
        return _on_slices(pixels, mask, truth, spacing, errors=True)
    gap = np.full((_outlined(pixels, mask, truth).shape[0], GAP, 3), 255, np.uint8)
    errors = at_size(_errors(as_rgb(pixels), mask, truth), SIDE)
    return np.concatenate([_outlined(pixels, mask, truth), gap, errors], 1)


def _errors(shown: Overlay, mask: Numbers, truth: Numbers) -> Overlay:
    right = (mask > 0) & (mask == truth)
    return error_map(shown, truth > 0, right | ((mask > 0) & (truth == 0)), truth >= 0)


def _outlined(pixels: ImageArray, mask: Numbers, truth: Numbers | None) -> Overlay:
    canvas = at_size(as_rgb(pixels), SIDE)
    unit = max(1.5, float(np.hypot(*canvas.shape[:2])) / 1000)
    _outline(canvas, mask, truth, unit)
    return canvas


def _outline(canvas: Overlay, mask: Numbers, truth: Numbers | None, unit: float) -> None:
    """Draw the outlines of labels and of what is found."""
    if truth is not None:
        for number in np.unique(truth[truth > 0]).tolist():
            draw_outline(canvas, truth == number, WHITE, unit, dashed=True)
    for number in np.unique(mask[mask > 0]).tolist():
        draw_outline(canvas, mask == number, mark(number - 1)[0], unit)


def _on_slices(
    pixels: ImageArray,
    mask: Numbers,
    truth: Numbers | None,
    spacing: Sequence[float] | None,
    *,
    errors: bool,
) -> Overlay:
    """Three slices at right angles through where most is masked, each under its title."""
    place = fullest(mask if truth is None else np.maximum(mask, truth))
    labels = [mask] if truth is None else [mask, truth]
    planes = [slices(one[..., None], place, spacing) for one in labels]
    above, below = [], []
    for number, one in enumerate(slices(grey_volume(pixels), place, spacing)):
        found, *labelled = (plane[number].image[..., 0] for plane in planes)
        canvas = panel_of(one.image, pixels, spacing)
        _outline(canvas, found, labelled[0] if labelled else None, LINE)
        above.append((canvas, one.title))
        if errors and labelled:
            wrong = _errors(as_rgb(one.image), found, labelled[0])
            below.append((panel_of(wrong, pixels, spacing), one.title))
    return stacked([side_by_side(row) for row in (above, below) if row])


def _on_rows(
    pixels: ImageArray,
    mask: Numbers,
    truth: Numbers | None,
    spacing: Sequence[float] | None,
    *,
    errors: bool = False,
) -> Overlay:
    """Parts of a recording as lines, first those where something is wrong or found."""
    wrong = np.empty(0, int) if truth is None else np.flatnonzero((mask != truth) & (truth >= 0))
    focus = np.concatenate([wrong, np.flatnonzero(mask)]).tolist()
    rows = rows_of(pixels, focus, spacing[0] if spacing else None)
    for row in rows:
        _tint(row, mask, truth, errors=errors)
    return stacked([row.canvas for row in rows])


def _tint(row: Row, mask: Numbers, truth: Numbers | None, *, errors: bool) -> None:
    """Colour the ground where something is found, and draw bars where something is labelled."""
    high, width = row.canvas.shape[:2]
    at = row.samples
    found, labelled = mask[at], None if truth is None else truth[at]
    colours = np.full((width, 3), 255)
    for number in np.unique(found[found > 0]).tolist():
        colours[found == number] = mark(number - 1)[0]
    if errors and labelled is not None:
        colours[(found > 0) & (found == labelled)] = GREY
        colours[(labelled > 0) & (found != labelled)] = MISSED
        colours[(labelled == 0) & (found > 0)] = INVENTED
    row.tint(colours)
    if labelled is not None:
        row.canvas[high - AXIS - BAR : high - AXIS, labelled > 0] = (27, 31, 36)
