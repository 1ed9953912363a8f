"""What the figures of studies share: panels beside each other, scales, names of lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from placewise.report.canvas import canvas
from placewise.report.style import LIGHT, POINT_COLOURS
from studies._findings import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INK, MUTED = LIGHT.ink, LIGHT.muted

COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*POINT_COLOURS[i]) for i in (6, 4, 2, 1, 0, 5))
"""Blue, vermilion, green, orange, sky and purple of Okabe and Ito, then ink."""


def panels(
    width: float, height: float, *, columns: int = 1, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure in the house style with panels beside each other.

    Args:
        width: inches.
        height: inches.
        columns: panels.
        ratios: widths of the panels.

    Example:
        >>> figure, (left, right) = panels(8, 3, columns=2)
        >>> figure.get_size_inches().tolist()
        [8.0, 3.0]
    """
    figure, found = canvas(height, LIGHT, columns, columns)
    figure.set_size_inches(width, height)
    figure.set_dpi(DPI)
    grid = found[0].get_gridspec()
    if grid is not None and ratios:
        grid.set_width_ratios(list(ratios))
    return figure, found


def logarithmic(axes: Axes, which: str = "y") -> None:
    """A logarithmic axis whose marks are plain numbers.

    Args:
        axes: the panel.
        which: "x" or "y".
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))
    axis.set_minor_formatter(NullFormatter())


def name_lines(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Names at the right ends of lines, moved apart where they would cover each other.

    Args:
        axes: the panel; its limits must be set.
        ends: (x, y, name, colour) of each line's end.
        gap: least distance of two names, as a share of the height.
    """
    to_share = axes.transData.transform
    low, high = (axes.transAxes.transform((0, y))[1] for y in (0, 1))
    heights = [(to_share((x, y))[1] - low) / (high - low) for x, y, _, _ in ends]
    last = -1.0
    for place in sorted(range(len(ends)), key=heights.__getitem__):
        _, _, name, colour = ends[place]
        last = max(heights[place], last + gap)
        axes.annotate(
            name, (1.02, last), xycoords="axes fraction", va="center", fontsize=9, color=colour
        )


def title(axes: Axes, words: str) -> None:
    """A panel's title, at its left."""
    axes.set_title(words, loc="left", fontsize=10, color=INK)


def measured_rows(
    axes: Axes, rows: Mapping[str, Measured], *, colour: str = COLOURS[0], shift: float = 0.0
) -> None:
    """A keypoint with its interval for each row, the first on top.

    Args:
        axes: the panel.
        rows: name -> what was measured.
        colour: of the keypoints.
        shift: of the keypoints, upwards, so that several may stand in a row.
    """
    for place, found in enumerate(reversed(list(rows.values()))):
        height = place + shift
        if found.interval is not None:
            ends = (found.interval.low, found.interval.high)
            axes.plot(ends, (height, height), color=colour, linewidth=2.2)
        axes.plot(found.mean, height, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(rows)), list(rows)[::-1])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
