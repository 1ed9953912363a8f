"""Figures: paths and missed beats by the distance from the end; F1 in bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from placewise.geometry import FloatArray
from placewise.report.canvas import png
from studies._figures import COLOURS, INK, panels, title
from studies._findings import Measured
from studies.signals.runs import RULES
from studies.signals.told import Found, milliseconds
from studies.signals.windows import BANDS, DISTANCES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.6
"""Inches of a panel."""

STYLES = dict(zip(RULES, ("-", "--", "-", "-.", "-"), strict=True))
APART, APART_BANDS = 2.2, 0.1
"""Between the marks of neighbouring rules: milliseconds, and shares of a band."""


def by_distance(found: Sequence[Found], paths: Mapping[str, FloatArray]) -> bytes:
    """Paths by position, and how many more beats are missed near an end than inside."""
    figure, frames = panels(WIDTH * (1 + len(found)), 3.3, columns=1 + len(found))
    shown = np.arange(max(DISTANCES) + 12)
    for rule, colour in zip(RULES, COLOURS, strict=False):
        share = 100 * paths[rule][shown] / paths[rule][len(paths[rule]) // 2]
        frames[0].plot(shown * milliseconds(36) / 36, share, STYLES[rule], color=colour, label=rule)
    frames[0].set(xlabel="ms from the end", ylim=(0, 105))
    frames[0].set_ylabel("% of the middle", color=INK)
    title(frames[0], "path counts")
    for axes, one in zip(frames[1:], found, strict=True):
        values = {
            rule: [(milliseconds(at), one.missed(rule, at)) for at in DISTANCES] for rule in RULES
        }
        _lines(axes, values, APART)
        axes.set(xlabel="ms from the end", ylim=(-3, 105))
        title(axes, f"{one.name}: beats missed, minus inside")
    frames[1].set_ylabel("points", color=INK)
    _legend(figure, frames[0])
    return png(figure)


def in_bands(found: Sequence[Found]) -> bytes:
    """F1 in bands of distances from the end, a panel for each kind of recordings."""
    figure, frames = panels(1.4 + WIDTH * len(found), 3.3, columns=len(found))
    names = [f"{milliseconds(a)}–{milliseconds(b)}" for a, b in pairwise(BANDS)]
    for axes, one in zip(frames, found, strict=True):
        values = {
            rule: [
                (float(place), Measured.of(one.f1_by_seed(rule, low)))
                for place, low in enumerate(BANDS)
            ]
            for rule in RULES
        }
        _lines(axes, values, APART_BANDS)
        axes.set_xticks(range(len(BANDS)), [*names, "more"], fontsize=8)
        axes.set(xlabel="ms from the nearest end", ylim=(0, 103))
        title(axes, one.name)
    frames[0].set_ylabel("F1 (%)", color=INK)
    _legend(figure, frames[0])
    return png(figure)


def _lines(
    axes: Axes, values: Mapping[str, Sequence[tuple[float, Measured]]], apart: float
) -> None:
    """A line for each rule, with intervals, moved apart so that none covers another."""
    for number, (rule, colour) in enumerate(zip(RULES, COLOURS, strict=False)):
        by = apart * (number - (len(RULES) - 1) / 2)
        at = [place + by for place, _ in values[rule]]
        means = [measured.mean for _, measured in values[rule]]
        axes.plot(at, means, f"o{STYLES[rule]}", color=colour, markersize=4, label=rule)
        for place, (_, measured) in zip(at, values[rule], strict=True):
            if measured.interval is not None:
                ends = (measured.interval.low, measured.interval.high)
                axes.plot((place, place), ends, color=colour, linewidth=1.2)


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(RULES),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
