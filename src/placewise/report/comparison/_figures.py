"""Figures of a comparison: intervals, seeds, and what changes of the images do."""

from __future__ import annotations

from typing import Any

import numpy as np

from placewise.report.canvas import canvas, png
from placewise.report.comparison._rows import Results, by_seed_differences, in_percent, measure_of
from placewise.report.style import LIGHT, POINT_COLOURS, Theme

COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*POINT_COLOURS[i]) for i in (6, 4, 2, 1, 0, 5))
"""Blue, vermilion, green, orange, sky and purple of Okabe and Ito."""

SHAPES = ("o", "s", "D")
"""Marks of the first six arms, the next six, and so on."""


def difference_figure(results: Results, theme: Theme = LIGHT) -> bytes:
    """Differences from the reference with their intervals, over the seeds' own differences.

    Args:
        results: what was found.
        theme: colours.
    """
    rows = results["comparisons"][::-1]
    scale = 100 if in_percent(results) else 1
    figure, (axes,) = canvas(1.5 + 0.62 * len(rows), theme)
    rope = scale * results["rope"]
    axes.axvspan(-rope, rope, color=theme.line, alpha=0.7, linewidth=0)
    axes.axvline(0, color=theme.muted, linewidth=1)
    kinds = (
        ("two_way_interval", "seeds and items", theme.first, 0.0, 4.5),
        ("t_interval", "seeds, t", theme.second, -0.17, 2.2),
        ("bootstrap_interval", "seeds, bootstrap", theme.third, -0.29, 2.2),
    )
    for place, one in enumerate(rows):
        seeds = scale * by_seed_differences(results, one["arm"])
        axes.plot(seeds, np.full(len(seeds), place + 0.2), ".", color=theme.muted, alpha=0.7)
        axes.plot(scale * one["difference"], place, "D", color=theme.ink, markersize=5, zorder=4)
        for key, label, colour, off, width in kinds:
            if one[key]:
                ends = [scale * end for end in one[key]]
                named = label if place == 0 else None
                axes.plot(ends, [place + off] * 2, color=colour, linewidth=width, label=named)
    axes.set_yticks(range(len(rows)), [one["arm"] for one in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    unit = "accuracy, points" if in_percent(results) else "px less error"
    axes.set_xlabel(f"better than '{results['reference']}' by ({unit})")
    _legend(axes, theme, 3)
    return png(figure)


def arm_figure(results: Results, theme: Theme = LIGHT) -> bytes:
    """What each arm reaches: the seeds, their mean and its t interval."""
    rows = results["arms"][::-1]
    scale = 100 if in_percent(results) else 1
    figure, (axes,) = canvas(1.1 + 0.42 * len(rows), theme)
    for place, arm in enumerate(rows):
        seeds = [scale * one["value"] for one in arm["by_seed"]]
        axes.plot(seeds, [place + 0.18] * len(seeds), ".", color=theme.muted, alpha=0.7)
        ends = [scale * end for end in arm["interval"]]
        axes.plot(ends, [place] * 2, color=theme.first, linewidth=3.5)
        axes.plot(scale * arm["mean"], place, "D", color=theme.ink, markersize=5)
    axes.set_yticks(range(len(rows)), [arm["name"] for arm in rows])
    axes.set_ylim(-0.5, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(measure_of(results))
    return png(figure)


def change_figure(results: Results, theme: Theme = LIGHT) -> bytes:
    """The measure when images are shifted, and at other sizes than the training's."""
    scale = 100 if in_percent(results) else 1
    figure, (left, right) = canvas(3.2, theme, panels=2, columns=2)
    for place, arm in enumerate(results["arms"]):
        colour, shape = COLOURS[place % len(COLOURS)], SHAPES[place // len(COLOURS) % len(SHAPES)]
        for axes, kind, start in ((left, "shifted", 0.0), (right, "sizes", 1.0)):
            found = {start: arm["mean"]}
            found |= {float(k): v["mean"] for k, v in arm["place"][kind].items() if v}
            at = sorted(found)
            values = [scale * found[x] for x in at]
            axes.plot(at, values, marker=shape, markersize=4, color=colour, label=arm["name"])
    left.set_xlabel("shifted by (px)")
    right.set_xlabel("size / size of the training")
    left.set_ylabel(measure_of(results))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3, frameon=False, labelcolor=theme.ink
    )
    return png(figure)


def _legend(axes: Any, theme: Theme, columns: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=theme.ink,
        handlelength=1.4,
    )
