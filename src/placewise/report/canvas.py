"""What figures are drawn on: axes in the house style, and their bytes.

They are drawn by matplotlib's objects, never by pyplot, so nothing global changes.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from placewise.report.style import Theme
from placewise.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH, DPI = 5.0, 190
"""Inches and keypoints per inch: legible on a telephone, sharp on a large screen."""

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
    """Ticks as plain numbers, on a logarithmic axis at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        if scale == "log":
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
