"""Signals as lines over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from placewise.geometry import FloatArray
from placewise.report.marks import Overlay
from placewise.report.style import LIGHT, Theme

WIDTH, HEIGHT = 1000, 170
"""Pixels of a row."""

SHOWN = 2000
"""Samples in a row, at most."""

ROWS = 5
"""Rows that show parts of a signal, at most."""

LEADS = 4
"""Channels that are drawn, at most."""

FINE = 3
"""Lines are drawn this many times as large, and made smaller."""

TITLE = 20
"""Pixels above a row for its words."""


@dataclass(frozen=True)
class Row:
    """A part of a signal as a picture.

    Attributes:
        canvas: (height, width, 3), which marks are drawn on.
        start: first sample.
        stop: first sample after it.
        values: (stop − start, channels) heights in pixels of the canvas.
    """

    canvas: Overlay
    start: int
    stop: int
    values: FloatArray

    @property
    def ratio(self) -> float:
        """Pixels of the canvas for one sample."""
        return float(self.canvas.shape[1] / (self.stop - self.start))

    def place(self, sample: float) -> FloatArray:
        """(x, y) on the canvas of a place in time, on the line of the first channel.

        NaN where it lies outside of the row.
        """
        if not self.start - 0.5 <= sample <= self.stop - 0.5:
            return np.array([np.nan, np.nan])
        at = np.clip(sample - self.start, 0, len(self.values) - 1)
        high = float(np.interp(at, np.arange(len(self.values)), self.values[:, 0]))
        return np.array([(sample - self.start + 0.5) * self.ratio - 0.5, high])

    def places(self, samples: FloatArray) -> FloatArray:
        """(n, 2) of `place` for (n, 1) places in time."""
        return np.array([self.place(one) for one in samples[:, 0]]).reshape(-1, 2)


def parts(length: int, focus: Sequence[float] = (), most: int = SHOWN) -> list[tuple[int, int]]:
    """(start, stop) of what is shown of a signal: all of it, or parts in even distances.

    The first and the last part are always among them, because a network may see worse there.

    Args:
        length: samples of the signal.
        focus: samples that are to be shown first of all.
        most: samples in a part.

    Example:
        >>> parts(1500), parts(10_000, most=1000)[:2]
        ([(0, 1500)], [(0, 1000), (2250, 3250)])
    """
    if length <= most:
        return [(0, length)]
    wanted: list[int] = []
    for place in focus:
        start = round(float(place)) - most // 2
        if len(wanted) < ROWS - 2 and all(abs(start - other) >= most for other in wanted):
            wanted.append(start)
    spread = np.linspace(0, length - most, ROWS - len(wanted)).astype(int).tolist()
    starts = sorted({min(max(0, start), length - most) for start in [*wanted, *spread]})
    return [(start, start + most) for start in starts]


def drawn(
    signal: NDArray[Any], start: int, stop: int, *, width: int = WIDTH, theme: Theme = LIGHT
) -> Row:
    """A part of a signal drawn as a line for each channel, the first one on top of the others.

    Where a column holds several samples it shows all between the least and the largest.

    Args:
        signal: (length, channels) of any numbers.
        start: first sample.
        stop: first sample after it.
        width: in pixels.
        theme: colours.

    Example:
        >>> drawn(np.sin(np.arange(900.0) / 20)[:, None], 100, 300, width=400).canvas.shape
        (170, 400, 3)
    """
    shown = np.asarray(signal[start:stop, :LEADS], np.float64)
    low, high = shown.min(0), shown.max(0)
    room = HEIGHT - TITLE - 12
    unit = (shown - low) / np.where(high > low, high - low, 1)
    heights = HEIGHT - 6 - unit * room
    page = Image.new("RGB", (width * FINE, HEIGHT * FINE), theme.paper)
    draw = ImageDraw.Draw(page)
    colours = [theme.first, theme.second, theme.muted, theme.line]
    for lead in range(shown.shape[1])[::-1]:
        draw.line(_points(heights[:, lead], width), fill=colours[lead], width=FINE + 1)
    canvas = np.array(page.resize((width, HEIGHT), Image.Resampling.LANCZOS))
    return Row(canvas, start, stop, heights)


def _points(heights: FloatArray, width: int) -> list[tuple[float, float]]:
    """Corners of a line, in the fine picture; of many samples in a column two."""
    count = len(heights)
    places = (np.arange(count) + 0.5) * width / count - 0.5
    if count > 4 * width:
        column = np.clip(np.round(places), 0, width - 1).astype(int)
        starts = np.flatnonzero(np.diff(column, prepend=-1))
        ends = [np.minimum.reduceat(heights, starts), np.maximum.reduceat(heights, starts)]
        heights = np.stack(ends, 1).ravel()
        places = np.repeat(column[starts], 2).astype(float)
    fine = zip((places + 0.5) * FINE, (heights + 0.5) * FINE, strict=True)
    return [(float(x), float(y)) for x, y in fine]
