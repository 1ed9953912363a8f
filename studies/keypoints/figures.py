"""Figures: how far each arm is from the heatmap; errors over sizes and numbers of images."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from placewise.report.canvas import png
from studies._figures import COLOURS, INK, MUTED, logarithmic, measured_rows, panels, title
from studies.keypoints.runs import REFERENCE, WAYS
from studies.keypoints.told import Along, Difference, Outcomes, arms_of, on_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LEFT = 3.4, 2.2
"""Inches of a panel, and of the names of the arms beside the first."""


def differences(found: Outcomes) -> bytes:
    """Each arm's error minus that of the reference, a panel for each data set."""
    arms = [arm for arm in arms_of(found) if arm != REFERENCE]
    width = LEFT + WIDTH * len(found)
    figure, frames = panels(width, 1.4 + 0.3 * len(arms), columns=len(found))
    for axes, (name, one) in zip(frames, found.items(), strict=True):
        rows = {WAYS[arm].said: Difference.of(one, arm).measured for arm in arms}
        measured_rows(axes, rows)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        if axes is not frames[0]:
            axes.set_yticklabels([])
        title(axes, name)
    label = "error minus the heatmap's (% of the longer side)"
    figure.supxlabel(label, fontsize=9.5, color=INK)
    return png(figure)


def over(along: Along, arms: Sequence[str], label: str, *, doubling: bool = False) -> bytes:
    """Error of arms along an axis, a panel for each data set, a circle for each seed.

    Args:
        along: what was found along the axis.
        arms: a line for each; as many as there are `COLOURS`, at most.
        label: of the axis.
        doubling: the places on the axis double; both axes are logarithmic.
    """
    figure, frames = panels(1 + WIDTH * len(along), 3.0, columns=len(along))
    for axes, (name, places) in zip(frames, along.items(), strict=True):
        values = [on_axis(places, outcome, arms) for outcome in places.values()]
        for number, (arm, colour) in enumerate(zip(arms, COLOURS, strict=False)):
            line = [by_arm[number] for by_arm in values]
            means = [fmean(seeds) for seeds in line]
            axes.plot(list(places), means, "-", color=colour, label=WAYS[arm].said)
            for place, seeds in zip(places, line, strict=True):
                axes.plot([place] * len(seeds), seeds, "o", color=colour, markersize=4)
        if doubling:
            _doubling(axes)
        else:
            axes.set_ylim(bottom=0)
        axes.set_xticks(list(places))
        axes.set_xlabel(label)
        title(axes, name)
    frames[0].set_ylabel("error (% of the longer side)", color=INK)
    figure.legend(
        *frames[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(along),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    return png(figure)


def _doubling(axes: Axes) -> None:
    """Both axes logarithmic, with marks for errors that differ little too."""
    from matplotlib.ticker import LogLocator

    logarithmic(axes, "x")
    logarithmic(axes, "y")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
