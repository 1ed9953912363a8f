"""Figures of keypoints over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.report.canvas import canvas, legend_above, plain_ticks, png, say, short
from placewise.report.style import LIGHT, Theme

SHOWN = 8
"""Keypoints that a figure shows at most."""

BINS = 700
"""Columns of a long recording: of each the least and the largest value are drawn."""


def movement_curves(
    times: FloatArray,
    names: Sequence[str],
    places: FloatArray,
    unsure: NDArray[np.bool_],
    jumps: NDArray[np.bool_],
    label: str,
    theme: Theme = LIGHT,
) -> bytes:
    """X and y of keypoints over time, with their jumps, and the frames where they are not sure.

    Args:
        times: (T,) of the frames.
        names: of the K keypoints, at most 8 of which are shown.
        places: (T, K, 2) in pixels; NaN where missing.
        unsure: (T, K) where a keypoint is missing or has a low score.
        jumps: (T, K) where it has jumped to.
        label: what the times are, e.g. "s".
        theme: colours.

    Returns:
        Bytes of a PNG.

    Example:
        >>> t = np.arange(50.0)
        >>> places = np.stack([t, t], -1)[:, None]
        >>> none = np.zeros((50, 1), bool)
        >>> movement_curves(t, ["nose"], places, none, none, "s")[1:4]
        b'PNG'
    """
    count = min(SHOWN, len(names))
    figure, panels = canvas(0.9 + 0.95 * count, theme, panels=count)
    for k, axes in enumerate(panels):
        for axis, colour in ((0, theme.first), (1, theme.second)):
            at, values = envelope(times, places[:, k, axis])
            axes.plot(at, values, color=colour, linewidth=1, label="xy"[axis])
        for start, stop in _stretches(unsure[:, k]):
            axes.axvspan(times[start], times[stop], color=theme.muted, alpha=0.25, linewidth=0)
        here = times[jumps[:, k]]
        if len(here):
            low = axes.get_ylim()[0]
            axes.plot(
                here,
                np.full(len(here), low),
                "^",
                color=theme.third,
                markersize=5,
                label="jump",
                clip_on=False,
            )
        axes.set_ylabel(f"{short(names[k], 14)}\npx", fontsize=9)
        axes.invert_yaxis()
        plain_ticks(axes)
        if not np.isfinite(places[:, k]).any():
            say(axes, "never found", theme)
    panels[-1].set_xlabel(label)
    legend_above(panels[0], theme)
    return png(figure)


def envelope(times: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A curve that looks the same with fewer points: the least and largest value of each column.

    Example:
        >>> at, seen = envelope(np.arange(1e5), np.sin(np.arange(1e5)))
        >>> len(at), bool(seen.max() > 0.99)
        (1400, True)
    """
    if len(values) <= 2 * BINS:
        return times, values
    edges = np.linspace(0, len(values), BINS + 1).astype(int)
    known = np.isfinite(values)
    low = np.minimum.reduceat(np.where(known, values, np.inf), edges[:-1])
    high = np.maximum.reduceat(np.where(known, values, -np.inf), edges[:-1])
    ends = np.stack([low, high], 1).ravel()
    return np.repeat(times[edges[:-1]], 2), np.where(np.isfinite(ends), ends, np.nan)


def _stretches(where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, last) of each stretch of frames; neighbours within a column are joined."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(np.int8)))
    near = max(1, len(where) // BINS)
    found: list[tuple[int, int]] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if found and start - found[-1][1] <= near:
            found[-1] = (found[-1][0], stop - 1)
        else:
            found.append((start, stop - 1))
    return found
