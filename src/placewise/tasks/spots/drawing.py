"""An image with its spots, and which of them are missed or false where that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray, ratio_of, rescale
from placewise.images import ImageArray
from placewise.metrics import match
from placewise.report.drawing import SIDE, as_rgb, at_size, legend_of
from placewise.report.marks import (
    Overlay,
    draw_circle,
    draw_cross,
    draw_keypoint,
    draw_line,
)
from placewise.report.style import mark

MISSED = (255, 64, 64)
"""Colour of the ring about a labelled spot that was not found."""

SPARSE = 40
"""Spots on an image from which marks become smaller."""

KEY = (
    "A mark is a found spot; its colour and shape are those of its kind. A white cross is a "
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
) -> Overlay:
    """Draw spots on an image.

    Args:
        image: (height, width, channels).
        points: (n, 2) of (x, y) in pixels of the image.
        kinds: (n,) number of the kind of each.
        names: of the kinds.
        truth: (m, 2) labelled spots; None: they are not known.
        truth_kinds: (m,) their kinds.
        tolerance: pixels within which a found spot is a labelled one of its kind.
        legend: write the names on a strip below the image.
        side: least and most pixels of the longer side of the drawing.

    Returns:
        (height, width, 3) uint8.
    """
    shown = as_rgb(image)
    canvas = at_size(shown, side)
    ratio = ratio_of(shown.shape[:2], canvas.shape[:2])
    unit = max(1.0, float(np.hypot(*canvas.shape[:2])) / 800)
    count = max(len(points), 0 if truth is None else len(truth))
    radius = (4.5 if count < SPARSE else 3.2) * unit
    at = rescale(points, ratio)
    hollow = np.zeros(len(points), bool)
    if truth is not None and truth_kinds is not None:
        there, pairs = rescale(truth, ratio), _pairs(points, kinds, truth, truth_kinds, tolerance)
        hollow = ~np.isin(np.arange(len(points)), pairs[:, 1])
        for i in np.setdiff1d(np.arange(len(truth)), pairs[:, 0]):
            draw_circle(canvas, there[i], 2.4 * radius, MISSED, 1.6 * unit)
        for i, j in pairs:
            draw_line(canvas, at[j], there[i], mark(int(kinds[j]))[0], unit)
    for place, kind, empty in zip(at, kinds, hollow, strict=True):
        draw_keypoint(canvas, place, int(kind), radius, hollow=bool(empty))
    if truth is not None:
        for place in rescale(truth, ratio):
            draw_cross(canvas, place, 0.8 * unit)
    return np.concatenate([canvas, legend_of(names, canvas.shape[1])]) if legend else canvas


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
