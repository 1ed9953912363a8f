"""What figures are drawn on: axes in the house style, and their bytes.

They are drawn by matplotlib's objects, never by pyplot, so nothing global changes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from placewise.geometry import FloatArray
from placewise.report.style import Theme
from placewise.wording import printable, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH, DPI = 5.0, 190
"""Inches and dots per inch: legible on a telephone, sharp on a large screen."""

COLOURS = 256
"""Different colours of a figure: a palette makes its file a third as large."""


def canvas(
    height: float, theme: Theme, panels: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure with empty panels, which share their x axis where they stand in one column.

    Args:
        height: in inches.
        theme: colours.
        panels: how many.
        columns: panels in a row.

    Example:
        >>> from placewise.report.style import LIGHT
        >>> len(canvas(3.0, LIGHT, panels=5, columns=3)[1])
        5
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor=theme.paper)
    rows = -(-panels // columns)
    found = figure.subplots(rows, columns, sharex=columns == 1, squeeze=False).ravel().tolist()
    for axes in found:
        _dress(axes, theme)
    for axes in found[panels:]:
        axes.set_visible(False)
    return figure, found[:panels]


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.grid(color=theme.line, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=theme.muted, length=0, labelsize=9)
    axes.xaxis.label.set(color=theme.ink, fontsize=9.5)
    axes.yaxis.label.set(color=theme.ink, fontsize=9.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(theme.muted)


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file.

    Example:
        >>> from placewise.report.style import LIGHT
        >>> png(canvas(1.0, LIGHT)[0])[1:4]
        b'PNG'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    sheet: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter that the font lacks
        sheet.draw()
    image = Image.frombytes("RGBA", sheet.get_width_height(), bytes(sheet.buffer_rgba()))
    plain = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    packed = BytesIO()
    plain.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def plain_ticks(axes: Axes) -> None:
    """Ticks of both axes as plain numbers."""
    plain_axis(axes.xaxis)
    plain_axis(axes.yaxis)


def plain_axis(axis: Axis) -> None:
    """Ticks as plain numbers, on a logarithmic axis at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axis.set_minor_formatter(NullFormatter())


def whole_ticks(axis: Axis) -> None:
    """Ticks of a linear axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def legend_above(axes: Axes, theme: Theme) -> None:
    """A legend in one line above the axes."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.1,
    )


def border_bars(
    values: FloatArray,
    bands: Sequence[Mapping[str, Any]],
    label: str,
    empty: str,
    theme: Theme,
    *,
    top: float | None = None,
    turned: bool = False,
    unit: str = "px",
) -> Figure:
    """Bars by distance from the border, with the number of labels above each.

    Args:
        values: height of each bar; NaN where there is none.
        bands: `by_border_distance` of `metrics.json`; shares are of half the shorter side.
        label: what the height is.
        empty: what is said where no bar has a height.
        theme: colours.
        top: of the axis; None: a little above the highest bar.
        turned: whether the labels of many bars are turned.
        unit: what the pixels are called: recordings have ends.
    """
    figure, (axes,) = canvas(3.4, theme)
    if not np.isfinite(values).any():
        say(axes, empty, theme)
        return figure
    places = np.arange(len(bands))
    axes.bar(places, np.nan_to_num(values), width=0.82, color=theme.first)
    for place, band, value in zip(places, bands, np.nan_to_num(values), strict=True):
        axes.annotate(
            f"{band['count']:,}" if band["count"] else "none",
            (place, value),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=theme.muted,
        )
    shares = [span(band).removesuffix(" %") for band in bands]
    axes.set_xticks(places, shares, rotation=35 if turned and len(bands) > 6 else 0)
    axes.set_ylim(0, float(np.nanmax(values)) * 1.15 or 1.0 if top is None else top)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(border_label(unit))
    axes.set_ylabel(label)
    axes.set_title("number of labels above each bar", loc="right", color=theme.muted, fontsize=9)
    return figure


SHARES = "Distance as a share of half the shorter side: 0 % is the border, 100 % the middle."
"""What the bands of a table by distance from the border are."""


def border_label(unit: str = "px") -> str:
    """What an axis of bands is called.

    Example:
        >>> border_label("samples")
        'distance from the ends (%; 100 is the middle)'
    """
    return f"distance from the {'ends' if unit == 'samples' else 'border'} (%; 100 is the middle)"


def say(axes: Axes, words: str, theme: Theme) -> None:
    """Words in the middle of axes that have nothing to show."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=theme.muted)


def short(name: str, longest: int = 24) -> str:
    """A name as a label of an axis: cut to what fits, and `$` not read as mathematics.

    Example:
        >>> short("front_left_paw_of_the_mouse", 16)
        'front_le…e_mouse'
    """
    words = printable(name)
    half = longest // 2
    kept = words if len(words) <= longest else f"{words[:half]}…{words[1 - half :]}"
    return kept.replace("$", r"\$")
