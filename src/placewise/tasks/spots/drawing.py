"""An image with its spots, and which of them are missed or false where that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.images import ImageArray
from placewise.metrics import match
from placewise.report.drawing import SIDE, Plane, joined, planes_of
from placewise.report.marks import (
    Overlay,
    draw_circle,
    draw_cross,
    draw_keypoint,
    draw_line,
)
from placewise.report.sheets import legend_of
from placewise.report.style import mark

MISSED = (255, 64, 64)
"""Colour of the ring about a labelled spot that was not found."""

SPARSE = 40
"""Spots on an image from which marks become smaller."""

DEEP = 3.0
"""Voxels from a slice up to which spots are drawn on it."""

KEY = (
    "A mark is a found spot; its colour and shape are those of its kind. A small cross is a "
    "labelled spot. A hollow mark is a spot that is found where none is labelled, and a red ring "
    "is about a labelled spot that is missed."
)


def draw_spots(
    image: ImageArray,
    points: FloatArray,
    kinds: NDArray[np.intp],
    names: Sequence[str],
    *,
    truth: FloatArray | None = None,
    truth_kinds: NDArray[np.intp] | None = None,
    tolerance: float = 0.0,
    legend: bool = False,
    side: tuple[int, int] = SIDE,
    spacing: Sequence[float] | None = None,
) -> Overlay:
    """Draw spots on an image.

    Args:
        image: (*size, channels); of a signal parts are shown, of a volume slices, where spots are
            missed or false if there are such.
        points: (n, axes) of (x, y, …) in pixels of the image, the surest first.
        kinds: (n,) number of the kind of each.
        names: of the kinds.
        truth: (m, axes) labelled spots; None: they are not known.
        truth_kinds: (m,) their kinds.
        tolerance: pixels within which a found spot is a labelled one of its kind.
        legend: write the names on a strip below the image.
        side: least and most pixels of the longer side of the drawing.
        spacing: distance of the pixels along the axes, of a signal in seconds; None: not known.

    Returns:
        (height, width, 3) uint8.
    """
    there = np.empty((0, points.shape[1])) if truth is None else truth
    pairs = np.empty((0, 2), np.intp)
    false, missed = np.empty(0, np.intp), np.empty(0, np.intp)
    if truth is not None and truth_kinds is not None:
        pairs = _pairs(points, kinds, truth, truth_kinds, tolerance)
        false = np.setdiff1d(np.arange(len(points)), pairs[:, 1])
        missed = np.setdiff1d(np.arange(len(truth)), pairs[:, 0])
    focus = np.concatenate([there[missed], points[false], points])
    planes = planes_of(image, focus if image.ndim < 4 else focus[:1], side, spacing)
    for plane in planes:
        unit = max(1.0, float(np.hypot(*plane.canvas.shape[:2])) / 800)
        radius = (4.5 if max(len(points), len(there)) < SPARSE else 3.2) * unit
        at, true = _seen(plane, points), _seen(plane, there)
        for place in true[missed]:
            draw_circle(plane.canvas, place, 2.4 * radius, MISSED, 1.6 * unit)
        for i, j in pairs:
            draw_line(plane.canvas, at[j], true[i], mark(int(kinds[j]))[0], unit)
        for number in reversed(range(len(at))):  # the surest last: it is on top
            place, kind = at[number], int(kinds[number])
            draw_keypoint(plane.canvas, place, kind, radius, hollow=number in false)
        for place in true:
            draw_cross(plane.canvas, place, 0.8 * unit)
    canvas = joined(planes)
    return np.concatenate([canvas, legend_of(names, canvas.shape[1])]) if legend else canvas


def _seen(plane: Plane, places: FloatArray) -> FloatArray:
    """(n, 2) places on a canvas; NaN for those that are too far from a slice."""
    at = plane.at(places)
    if plane.off is not None:
        at = np.where(plane.off(places)[:, None] > DEEP, np.nan, at)
    return at


def _pairs(
    points: FloatArray,
    kinds: NDArray[np.intp],
    truth: FloatArray,
    truth_kinds: NDArray[np.intp],
    tolerance: float,
) -> NDArray[np.intp]:
    """(k, 2) numbers of a labelled and a found spot of one kind that belong together."""
    found = [np.empty((0, 2), np.intp)]
    for kind in np.unique(truth_kinds):
        mine, theirs = np.flatnonzero(truth_kinds == kind), np.flatnonzero(kinds == kind)
        pairs = match(truth[mine], points[theirs], tolerance)
        found.append(np.stack([mine[pairs[:, 0]], theirs[pairs[:, 1]]], -1))
    return np.concatenate(found)
