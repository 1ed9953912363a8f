"""Outlines of objects on an image, in colours that differ between neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.geometry import Size
from placewise.report.drawing import SIDE, as_rgb, at_size, side_by_side, stacked
from placewise.report.marks import Overlay
from placewise.report.slices import fullest, grey_volume, slices
from placewise.report.style import RGB
from placewise.report.traces import rows_of

Labels = NDArray[np.integer]

COLOURS: tuple[RGB, ...] = (
    (86, 180, 233),
    (240, 228, 66),
    (255, 127, 60),
    (80, 220, 130),
    (240, 120, 200),
    (255, 255, 255),
    (170, 140, 255),
)
"""Bright colours that can be told apart on dark and on light images."""

DARKER: RGB = (140, 140, 140)
"""What stands for white on white ground."""

NEAR = 8
"""Pixels within which two objects are neighbours."""


def outlined(
    image: NDArray[np.generic],
    labels: Sequence[tuple[Labels, Sequence[RGB] | None]],
    *,
    side: tuple[int, int] = SIDE,
    spacing: Sequence[float] | None = None,
) -> Overlay:
    """Draw the outlines of objects; of a volume on three slices where most is labelled.

    A recording is drawn as lines, on ground that has the colours of the objects.

    The outline lies on the object's own outermost pixels, so nothing beside it is hidden. Small
    images are enlarged by a whole number first.

    Args:
        image: (height, width, channels), (length, channels), or (depth, height, width, channels),
            of any numbers.
        labels: (*size) label maps, drawn one over the other, each with the colour of each of its
            objects 1 … n; None: colours by which neighbours differ.
        side: least and most pixels of the longer side of the drawing.
        spacing: distance of the pixels along the axes, of a signal in seconds; None: not known.

    Raises:
        SettingsError: a label map of another size than the image.

    Example:
        >>> labels = np.zeros((60, 80), int)
        >>> labels[10:30, 10:40] = 1
        >>> drawn = outlined(np.zeros((60, 80, 1), np.uint8), [(labels, None)], side=(160, 160))
        >>> drawn.shape, drawn[20, 20].tolist(), drawn[30, 50].tolist()
        ((120, 160, 3), [86, 180, 233], [0, 0, 0])
    """
    for one, _ in labels:
        if one.shape != image.shape[:-1]:
            raise SettingsError(
                f"got a label map of {one.shape} for an image of {image.shape[:-1]}; they must be "
                "of one size"
            )
    painted = [(one, colours or _apart(one)) for one, colours in labels]
    if image.ndim == 2:
        return _on_rows(image, painted, spacing)
    if image.ndim == 4:
        return _on_slices(image, painted, side, spacing)
    canvas = at_size(as_rgb(image), side)
    for one, colours in painted:
        _paint(canvas, one, colours)
    return canvas


def _on_rows(
    signal: NDArray[np.generic],
    painted: Sequence[tuple[Labels, Sequence[RGB]]],
    spacing: Sequence[float] | None,
) -> Overlay:
    """Parts of a recording as lines, first those where the first map has objects.

    Between two objects that touch a column is left white.
    """
    focus = np.concatenate([np.flatnonzero(one > 0) for one, _ in painted]).tolist()
    rows = rows_of(signal, focus, spacing[0] if spacing else None)
    for row in rows:
        ground = np.full((row.canvas.shape[1], 3), 255)
        for labels, colours in painted:
            shown = np.maximum(labels[row.samples], 0)
            shown[1:][(shown[1:] != shown[:-1]) & (shown[:-1] > 0)] = 0
            seen = [DARKER if one == (255, 255, 255) else one for one in colours]
            ground[shown > 0] = np.array(seen).reshape(-1, 3)[shown[shown > 0] - 1]
        row.tint(ground)
    return stacked([row.canvas for row in rows])


def _on_slices(
    volume: NDArray[np.generic],
    painted: Sequence[tuple[Labels, Sequence[RGB]]],
    side: Size,
    spacing: Sequence[float] | None,
) -> Overlay:
    """Three slices beside each other, each under its title, where most is labelled."""
    place = fullest(np.maximum.reduce([one for one, _ in painted]))
    planes = [slices(one[..., None], place, spacing) for one, _ in painted]
    panels = []
    for number, one in enumerate(slices(grey_volume(volume), place, spacing)):
        canvas = at_size(as_rgb(one.image), (side[0] // 2, side[1]))
        for plane, (_, colours) in zip(planes, painted, strict=True):
            _paint(canvas, plane[number].image[..., 0], colours)
        panels.append((canvas, one.title))
    return side_by_side(panels)


def _paint(canvas: Overlay, labels: Labels, colours: Sequence[RGB]) -> None:
    """Colour the outermost pixels of each object."""
    index = [
        ((np.arange(side) + 0.5) * count / side).astype(int)
        for side, count in zip(canvas.shape[:2], labels.shape, strict=True)
    ]
    large = np.maximum(labels[np.ix_(*index)], 0)
    edge = rims(large)
    if canvas.shape[0] > labels.shape[0]:  # enlarged: a line of one pixel would be too fine
        edge |= rims(np.where(edge, 0, large))
    canvas[edge] = np.array(colours, np.uint8).reshape(-1, 3)[large[edge] - 1]


def rims(labels: Labels) -> NDArray[np.bool_]:
    """(*size) pixels of an object beside which, along an axis, something else lies.

    The border of the image is nothing else: an object that it cuts is open there.

    Example:
        >>> rims(np.array([1, 1, 1, 1, 0, 2, 2])).tolist()
        [False, False, False, True, False, True, False]
    """
    found = np.zeros(labels.shape, bool)
    for axis, end in product(range(labels.ndim), (0, 1)):
        here = [slice(None)] * labels.ndim
        there = list(here)
        here[axis], there[axis] = (slice(1, None), slice(None, -1))[:: 1 - 2 * end]
        found[tuple(here)] |= labels[tuple(here)] != labels[tuple(there)]
    return found & (labels > 0)


def _apart(labels: Labels) -> list[RGB]:
    """A colour for each object 1 … n, another than that of the objects near it."""
    count = int(labels.max(initial=0))
    near: list[set[int]] = [set() for _ in range(count + 1)]
    for a, b in neighbours(labels).tolist():
        near[a].add(b)
        near[b].add(a)
    chosen = [-1] * (count + 1)
    for number in range(1, count + 1):
        taken = {chosen[other] for other in near[number]}
        wanted = [(number - 1 + k) % len(COLOURS) for k in range(len(COLOURS))]
        chosen[number] = next((one for one in wanted if one not in taken), wanted[0])
    return [COLOURS[one] for one in chosen[1:]]


def neighbours(labels: Labels) -> NDArray[np.int64]:
    """(pairs, 2) numbers of objects that are within `NEAR` pixels of each other, about.

    Example:
        >>> neighbours(np.array([[1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]])).tolist()
        [[1, 2]]
    """
    from scipy import ndimage

    from placewise.metrics import touching_pairs

    if not (labels > 0).any():
        return np.empty((0, 2), np.int64)
    away, nearest = ndimage.distance_transform_edt(labels <= 0, return_indices=True)
    grown = np.where(away <= NEAR / 2, labels[tuple(nearest)], 0)
    return touching_pairs(grown)
