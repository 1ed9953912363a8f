"""Figures: how far each arm is from the local one; the rewiring family over its reaches."""

from __future__ import annotations

from collections.abc import Mapping

from placewise.report.canvas import png
from placewise.statistics import Interval
from placewise.studies._figures import COLOURS, MUTED, measured_rows, panels, title
from placewise.studies._findings import Measured
from placewise.studies.proximity.arms import REACHES, told
from placewise.studies.proximity.growing import Cells
from placewise.studies.proximity.numbers import Difference, interval


def differences(contests: Mapping[str, Mapping[str, Difference]]) -> bytes:
    """Each arm minus the first of its contest, in points, with its interval.

    Args:
        contests: title of a panel to the differences of its arms.
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
        axes.set(xlabel="minus the first arm (points)")
        title(axes, name)
        axes.tick_params(axis="y", labelsize=8)
        if axes is not frames[0] and list(rows) == list(next(iter(contests.values()))):
            axes.set_yticklabels([])
    return png(figure)


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
    axes.set(xlabel="λ (pixels of the map)", ylabel="right (%)")
    axes.legend(frameon=False, fontsize=9, loc="best")
    return png(figure)
