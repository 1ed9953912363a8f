"""Figures: how far each arm is from the local one; the rewiring family over its reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from placewise.report.canvas import png
from placewise.statistics import Interval
from studies._figures import COLOURS, MUTED, measured_rows, panels, title
from studies._findings import Measured
from studies.proximity.arms import REACHES, told
from studies.proximity.growing import Cells
from studies.proximity.numbers import Difference, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MARKS = (-20, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20)

LINEAR = 0.5
"""Points up to which differences are drawn in proportion; beyond, by their logarithm."""


def differences(contests: Mapping[str, Mapping[str, Difference]], first: str) -> bytes:
    """Each arm minus the first of its contest, in points, with its interval.

    Args:
        contests: title of a panel to the differences of its arms.
        first: name of what the others are held against.
    """
    wide = 2.6 + 2.9 * len(contests)
    figure, frames = panels(wide, 3.6, columns=len(contests))
    for axes, (name, found) in zip(frames, contests.items(), strict=True):
        rows = {
            arm: Measured(100 * one["difference"], Interval(*interval(one)), ())
            for arm, one in found.items()
        }
        measured_rows(axes, rows)
        axes.axvline(0, color=MUTED, linestyle=":", linewidth=1.2)
        _scale(axes, rows)
        axes.set(xlabel=f"minus {first} (points)")
        title(axes, name)
        axes.tick_params(axis="y", labelsize=8)
        if axes is not frames[0] and list(rows) == list(next(iter(contests.values()))):
            axes.set_yticklabels([])
    return png(figure)


def _scale(axes: Axes, rows: Mapping[str, Measured]) -> None:
    """In proportion where arms are near each other, so that one that is far off hides nothing."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ends = [end for one in rows.values() if (i := one.interval) for end in (i.low, i.high)]
    axes.set_xscale("symlog", linthresh=LINEAR)
    marks = [mark for mark in MARKS if min(*ends, -LINEAR) <= mark <= max(*ends, LINEAR)]
    axes.set_xticks(marks)
    axes.set_xlim(min(*ends, -LINEAR) * 1.15, max(*ends, LINEAR) * 1.15)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def family(cells: Cells) -> bytes:
    """Percent right over the reach, one line for each rule of growth."""
    figure, (axes,) = panels(7, 3.4)
    for number, (colour, (rule, row)) in enumerate(zip(COLOURS, cells.items(), strict=False)):
        places = [place + 0.07 * (number - 1) for place in range(len(row))]
        axes.plot(places, [one.mean for one in row], "o-", color=colour, markersize=5, label=rule)
        for place, one in zip(places, row, strict=True):
            if one.interval is not None:
                ends = (one.interval.low, one.interval.high)
                axes.plot((place, place), ends, color=colour, linewidth=1.6)
    axes.set_xticks(range(len(REACHES)), [told(reach) for reach in REACHES])
    axes.set(xlabel="λ (pixels of the map)", ylabel="accuracy (%)")
    axes.legend(frameon=False, fontsize=9, loc="best")
    return png(figure)
