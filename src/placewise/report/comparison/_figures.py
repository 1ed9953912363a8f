"""Figures of a comparison: intervals, seeds, and what changes of the images do."""

from __future__ import annotations

from typing import Any

import numpy as np

from placewise.report.canvas import canvas, png
from placewise.report.comparison._rows import Compared
from placewise.report.style import LIGHT, POINT_COLOURS, Theme

COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*POINT_COLOURS[i]) for i in (6, 4, 2, 1, 0, 5))
"""Blue, vermilion, green, orange, sky and purple of Okabe and Ito."""

SHAPES = ("o", "s", "D")
"""Marks of the first six arms, the next six, and so on."""


def difference_figure(compared: Compared, theme: Theme = LIGHT) -> bytes:
    """Differences from the reference with their intervals, over the seeds' own differences.

    Args:
        compared: what was found.
        theme: colours.
    """
    rows = compared.results["comparisons"][::-1]
    scale = compared.metric.factor
    figure, (axes,) = canvas(1.5 + 0.62 * len(rows), theme)
    rope = scale * compared.results["rope"]
    axes.axvspan(-rope, rope, color=theme.line, alpha=0.7, linewidth=0)
    axes.axvline(0, color=theme.muted, linewidth=1)
    kinds = (
        ("two_way_interval", "seeds and items", theme.first, 0.0, 4.5),
        ("t_interval", "seeds, t", theme.second, -0.17, 2.2),
        ("bootstrap_interval", "seeds, bootstrap", theme.third, -0.29, 2.2),
    )
    for place, one in enumerate(rows):
        seeds = scale * compared.gains(one["arm"])
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
    unit, reference = compared.metric.difference_unit, compared.results["reference"]
    axes.set_xlabel(f"{compared.metric.label}: better than '{reference}' by ({unit})")
    _legend(axes, theme, 3)
    return png(figure)


def arm_figure(compared: Compared, theme: Theme = LIGHT) -> bytes:
    """What each arm reaches: the seeds, their mean and its t interval."""
    rows = compared.results["arms"][::-1]
    scale = compared.metric.factor
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
    axes.set_xlabel(compared.metric.heading)
    return png(figure)


def change_figure(compared: Compared, theme: Theme = LIGHT) -> bytes:
    """The measure when images are shifted, and at other sizes than the training's."""
    scale = compared.metric.factor
    figure, (left, right) = canvas(3.2, theme, panels=2, columns=2)
    for place, arm in enumerate(compared.results["arms"]):
        colour, shape = COLOURS[place % len(COLOURS)], SHAPES[place // len(COLOURS) % len(SHAPES)]
        for axes, kind, start in ((left, "shifted", 0.0), (right, "sizes", 1.0)):
            found = {start: arm["mean"]}
            found |= {float(k): v["mean"] for k, v in arm["place"][kind].items() if v}
            at = sorted(found)
            values = [scale * found[x] for x in at]
            axes.plot(at, values, marker=shape, markersize=4, color=colour, label=arm["name"])
    left.set_xlabel("shifted by (px)")
    right.set_xlabel("size / size of the training")
    left.set_ylabel(compared.metric.heading)
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
