"""Figures: how far each arm is from the heatmap; errors over sizes and numbers of images."""

from __future__ import annotations

from statistics import fmean

from placewise.report.canvas import png
from studies._figures import COLOURS, INK, MUTED, measured_rows, panels, title
from studies.keypoints.runs import REFERENCE, WAYS
from studies.keypoints.told import (
    Difference,
    Sets,
    along_axis,
    arms_of,
    few_of,
    on_axis,
)

WIDTH, LEFT = 3.4, 2.2
"""Inches of a panel, and of the names of the arms beside the first."""


def differences(found: Sets) -> bytes:
    """Each arm's error minus that of the reference, a panel for each data set."""
    arms = [arm for arm in arms_of(found) if arm != REFERENCE]
    width = LEFT + WIDTH * len(found)
    figure, frames = panels(width, 1.4 + 0.3 * len(arms), columns=len(found))
    for axes, (name, one) in zip(frames, found.items(), strict=True):
        rows = {WAYS[arm].said: Difference.of(one.main, arm).measured for arm in arms}
        measured_rows(axes, rows)
        axes.axvline(0, color=MUTED, linewidth=1.2)
        if axes is not frames[0]:
            axes.set_yticklabels([])
        title(axes, name)
    label = "error minus the heatmap's (% of the longer side)"
    figure.supxlabel(label, fontsize=9.5, color=INK)
    return png(figure)


def over(found: Sets, axis: str, label: str) -> bytes:
    """Error of the few arms along an axis, a panel for each data set, a keypoint for each seed.

    Args:
        found: what was found.
        axis: "sides" or "counts".
        label: of the axis.
    """
    figure, frames = panels(1 + WIDTH * len(found), 3.0, columns=len(found))
    for axes, (name, one) in zip(frames, found.items(), strict=True):
        along, few = along_axis(one, axis), few_of(found)
        values = {place: on_axis(along, outcome, few) for place, outcome in along.items()}
        for number, (arm, colour) in enumerate(zip(few, COLOURS, strict=False)):
            line = [by_arm[number] for by_arm in values.values()]
            means = [fmean(seeds) for seeds in line]
            axes.plot(list(along), means, "-", color=colour, label=WAYS[arm].said)
            for place, seeds in zip(along, line, strict=True):
                axes.plot([place] * len(seeds), seeds, "o", color=colour, markersize=4)
        axes.set_ylim(bottom=0)
        axes.set_xticks(list(along))
        axes.set_xlabel(label)
        title(axes, name)
    frames[0].set_ylabel("error (% of the longer side)", color=INK)
    figure.legend(
        *frames[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(found),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    return png(figure)
