"""Signals as lines over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from placewise.geometry import FloatArray
from placewise.report.letters import font_of
from placewise.report.marks import Overlay
from placewise.report.style import LIGHT, Theme

WIDTH, HEIGHT = 1000, 190
"""Pixels of a row."""

SHOWN = 2000
"""Samples in a row, at most."""

ROWS = 5
"""Rows that show parts of a signal, at most."""

LEADS = 4
"""Channels that are drawn, at most."""

FINE = 3
"""Lines are drawn this many times as large, and made smaller."""

TITLE, AXIS = 22, 20
"""Pixels above a row for its words, and below it for the numbers of its axis."""

TINT = 0.45
"""How strongly the ground of a recording is coloured."""

TICKS = 8
"""Numbers on the axis of a row, about."""


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

    @property
    def samples(self) -> NDArray[np.intp]:
        """(width,) the sample that each column of the canvas shows."""
        at = self.start + (np.arange(self.canvas.shape[1]) + 0.5) / self.ratio
        return at.astype(np.intp).clip(self.start, self.stop - 1)

    def tint(self, colours: NDArray[np.integer]) -> None:
        """Colour the ground.

        Args:
            colours: (width, 3) of 0..255 for each column; white leaves it as it is.
        """
        ground = self.canvas[TITLE : self.canvas.shape[0] - AXIS]
        share = np.where((colours < 255).any(-1), TINT, 0.0)[None, :, None]
        ground[:] = np.rint(ground * (1 - share * (1 - colours / 255)))

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

    What fits into the rows is shown once and whole; a short signal in one row. Of a longer one the
    first and the last part are always among them, because a network may see worse there.

    Args:
        length: samples of the signal.
        focus: samples that are to be shown first of all.
        most: samples in a part.

    Example:
        >>> parts(2313), parts(2500, most=1000), parts(10_000, most=1000)[:2]
        ([(0, 2313)], [(0, 833), (833, 1667), (1667, 2500)], [(0, 1000), (2250, 3250)])
    """
    if length <= 2 * most:
        return [(0, length)]
    if length <= ROWS * most:
        ends = np.linspace(0, length, -(-length // most) + 1).round().astype(int).tolist()
        return list(pairwise(ends))
    wanted: list[int] = []
    for place in focus:
        start = round(float(place)) - most // 2
        if len(wanted) < ROWS - 2 and all(abs(start - other) >= most for other in wanted):
            wanted.append(start)
    spread = np.linspace(0, length - most, ROWS - len(wanted)).astype(int).tolist()
    starts = sorted({min(max(0, start), length - most) for start in [*wanted, *spread]})
    return [(start, start + most) for start in starts]


def drawn(
    signal: NDArray[Any],
    start: int,
    stop: int,
    *,
    width: int = WIDTH,
    seconds: float | None = None,
    theme: Theme = LIGHT,
) -> Row:
    """A part of a signal drawn as a line for each channel, the first one on top of the others.

    Where a column holds several samples it shows all between the least and the largest.

    Args:
        signal: (length, channels) of any numbers.
        start: first sample.
        stop: first sample after it.
        width: in pixels.
        seconds: between two samples; None: not known, and the axis counts samples.
        theme: colours.

    Example:
        >>> drawn(np.sin(np.arange(900.0) / 20)[:, None], 100, 300, width=400).canvas.shape
        (190, 400, 3)
    """
    shown = np.asarray(signal[start:stop, :LEADS], np.float64)
    low, high = shown.min(0), shown.max(0)
    bottom = HEIGHT - AXIS - 6
    unit = (shown - low) / np.where(high > low, high - low, 1)
    heights = bottom - unit * (bottom - TITLE - 6)
    page = Image.new("RGB", (width * FINE, HEIGHT * FINE), theme.paper)
    draw = ImageDraw.Draw(page)
    ratio = width / (stop - start)
    marks = [((at - start + 0.5) * ratio, words) for at, words in ticks(start, stop, seconds)]
    for x, _ in marks:
        ends = [(x * FINE, TITLE * FINE), (x * FINE, (bottom + 6) * FINE)]
        draw.line(ends, fill=theme.line, width=FINE)
    for lead in range(shown.shape[1])[::-1]:
        draw.line(_points(heights[:, lead], width), fill=_colours(theme)[lead], width=FINE + 1)
    page = page.resize((width, HEIGHT), Image.Resampling.LANCZOS)
    write = ImageDraw.Draw(page)
    for x, words in marks:
        write.text((x, HEIGHT - AXIS + 2), words, theme.muted, font_of(13), anchor="ma")
    return Row(np.array(page), start, stop, heights)


def _colours(theme: Theme) -> tuple[str, str, str, str]:
    """Of the channels: none is a colour of a mark."""
    return theme.ink, theme.third, theme.muted, theme.line


def ticks(start: int, stop: int, seconds: float | None = None) -> list[tuple[float, str]]:
    """(sample, words) of round places on the axis of a part of a signal.

    Args:
        start: first sample.
        stop: first sample after it.
        seconds: between two samples; None: not known.

    Example:
        >>> [words for _, words in ticks(0, 500, 0.01)]
        ['0.5 s', '1 s', '1.5 s', '2 s', '2.5 s', '3 s', '3.5 s', '4 s', '4.5 s']
        >>> ticks(10_000, 12_000)[0]
        (10200.0, '10,200')
    """
    per = seconds or 1.0
    span = (stop - start) * per
    power = 10.0 ** np.floor(np.log10(span / TICKS))
    step = power * min((1, 2, 5, 10), key=lambda one: abs(span / (one * power) - TICKS))
    first, last = (start + 0.03 * (stop - start)) * per, (stop - 0.03 * (stop - start)) * per
    numbers = np.arange(np.ceil(first / step), np.floor(last / step) + 1) * step
    digits = max(0, -int(np.floor(np.log10(step)))) if step < 1 else 0
    unit = " s" if seconds else ""
    return [
        (float(at / per), f"{round(float(at), digits):,g}{unit}")
        for at in numbers
        if seconds or step >= 1
    ]


def rows_of(
    signal: NDArray[np.generic], focus: Sequence[float] = (), seconds: float | None = None
) -> list[Row]:
    """Parts of a signal, with words where each lies, and which line is which channel.

    Args:
        signal: (length, channels).
        focus: samples that are to be shown first of all.
        seconds: between two samples; None: not known.
    """
    rows = [drawn(signal, *part, seconds=seconds) for part in parts(len(signal), focus)]
    for one in rows:
        words = f"samples {one.start:,} to {one.stop - 1:,} of {len(signal):,}"
        if seconds:
            start, stop, end = (at * seconds for at in (one.start, one.stop, len(signal)))
            words = f"{start:,.4g} to {stop:,.4g} s of {end:,.4g} s ({words})"
        _title(one.canvas, words, signal.shape[1])
    return rows


def _title(canvas: Overlay, words: str, channels: int, theme: Theme = LIGHT) -> None:
    """Words at the top left of a canvas, and the names of its lines at the right."""
    page = Image.fromarray(canvas)
    write, font = ImageDraw.Draw(page), font_of(14)
    write.text((6, 3), words, theme.muted, font)
    right = float(canvas.shape[1] - 6)
    for lead in reversed(range(min(channels, LEADS))) if channels > 1 else ():
        name = f"channel {lead + 1}"
        write.text((right, 3), name, _colours(theme)[lead], font, anchor="ra")
        right -= font.getlength(name) + 14
    canvas[:] = np.array(page)


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
