"""What marks are drawn on: an image, parts of a signal, or slices of a volume, by one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray, ratio_of, rescale
from placewise.report.drawing import (
    SIDE,
    as_rgb,
    at_size,
    grey_volume,
    panel_of,
    rows_of,
    side_by_side,
    stacked,
)
from placewise.report.marks import Overlay
from placewise.report.slices import slices


@dataclass(frozen=True)
class Plane:
    """A canvas that shows an image, a part of a signal, or a slice of a volume.

    Attributes:
        canvas: (height, width, 3), which marks are drawn on.
        at: (n, axes) places on the image to (n, 2) of (x, y) on the canvas; NaN where a place is
            not on it.
        title: of a slice.
    """

    canvas: Overlay
    at: Callable[[FloatArray], FloatArray]
    title: str = ""


def planes_of(
    image: NDArray[np.generic], focus: FloatArray, side: tuple[int, int] = SIDE
) -> list[Plane]:
    """What an image is drawn on: one canvas, rows of a signal, three slices of a volume.

    Args:
        image: (*size, channels) of 1, 2 or 3 axes.
        focus: (n, axes) places that parts and slices should show, the most important first.
        side: least and most pixels of the longer side of an image's canvas.

    Example:
        >>> (plane,) = planes_of(np.zeros((40, 80, 1), np.uint8), np.empty((0, 2)), (160, 160))
        >>> plane.at(np.array([[0.0, 1.0]]))
        array([[0.5, 2.5]])
    """
    if image.ndim == 2:
        rows = rows_of(image, focus[:, 0].tolist())
        return [Plane(row.canvas, row.places) for row in rows]
    if image.ndim == 3:
        canvas = at_size(as_rgb(image), side)
        return [Plane(canvas, partial(rescale, ratio=ratio_of(image.shape[:2], canvas.shape[:2])))]
    planes = []
    for one in slices(grey_volume(image), focus.mean(0).tolist() if len(focus) else None):
        canvas = panel_of(one.image, image)
        ratio, axes = ratio_of(one.image.shape[:2], canvas.shape[:2]), list(one.axes)
        planes.append(Plane(canvas, partial(_on_slice, axes=axes, ratio=ratio), one.title))
    return planes


def _on_slice(places: FloatArray, axes: Sequence[int], ratio: tuple[float, ...]) -> FloatArray:
    return rescale(places[:, axes], ratio)


def joined(planes: Sequence[Plane]) -> Overlay:
    """The canvases as one picture: rows below each other, slices side by side."""
    if planes[0].title:
        return side_by_side([(one.canvas, one.title) for one in planes])
    return stacked([one.canvas for one in planes])
