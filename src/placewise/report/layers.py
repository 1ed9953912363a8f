"""Curves and bars by layer, by distance from the border and by size: bytes of a PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from placewise.geometry import FloatArray
from placewise.report.canvas import canvas, plain_axis, png, whole_ticks
from placewise.report.spoken import said
from placewise.report.style import LIGHT, Theme
from placewise.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = ("first", "second", "third", "muted", "ink")
"""Colours of the theme for curves beside each other."""

NAMED = 10
"""Names that fit along an axis."""


def depth_curves(
    names: Sequence[str], series: Sequence[tuple[str, ArrayLike]], label: str, theme: Theme = LIGHT
) -> bytes:
    """Ratios from layer to layer, on a logarithmic scale where they differ much.

    Args:
        names: of the layers in their order.
        series: (name, a ratio for each layer) of each curve; what is not finite is left out.
        label: what the ratios are.
        theme: colours.

    Returns:
        Bytes of a PNG.

    Example:
        >>> depth_curves(["conv1", "conv2"], [("corner", [1.5, 12.0])], "best over")[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(3.4, theme)
    found = [np.asarray(values, dtype=np.float64) for _, values in series]
    for place, ((name, _), values) in enumerate(zip(series, found, strict=True)):
        axes.plot(
            np.arange(len(names)),
            np.where(np.isfinite(values), values, np.nan),
            color=getattr(theme, SERIES[place % len(SERIES)]),
            marker="o",
            markersize=3,
            linewidth=1.8,
            label=name,
        )
    _log_if_wide(axes, np.concatenate([*found, np.zeros(0)]))
    _name_some(axes, names)
    axes.set_ylabel(label)
    axes.legend(frameon=False, fontsize=9, labelcolor=theme.ink, loc="upper left")
    return png(figure)


def sizes_chart(
    rows: Sequence[tuple[int, int]],
    own: int | None = None,
    unit: str = "px",
    theme: Theme = LIGHT,
) -> bytes:
    """How many layers treat both sides differently at each size of the image.

    Args:
        rows: (size in pixels, layers that do so).
        own: the size that was audited.
        unit: what pixels are called.
        theme: colours.

    Example:
        >>> sizes_chart([(224, 5), (225, 0)], own=224)[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(2.9, theme)
    even = [size for size, layers in rows if not layers]
    sizes = [size for size, _ in rows]
    colours = [theme.second if size == own else theme.first for size in sizes]
    axes.bar(sizes, [layers for _, layers in rows], width=0.8, color=colours)
    for size in even:
        axes.axvline(size, color=theme.third, linewidth=1.6)
    for size in _apart(even, (max(sizes) - min(sizes)) / NAMED if sizes else 1):
        axes.annotate(
            str(size),
            (size, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=theme.third,
        )
    axes.set_ylim(bottom=0)
    whole_ticks(axes.yaxis)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(said("size of the image (px)", unit))
    axes.set_ylabel("misaligned layers")
    return png(figure)


def border_curves(
    rows: Sequence[tuple[str, ArrayLike]], label: str, unit: str = "px", theme: Theme = LIGHT
) -> bytes:
    """A figure by distance from the border, a curve for each layer.

    Args:
        rows: (name, figures at distance 0, 1, 2, … cells) of each.
        label: what the figure is.
        unit: what pixels are called.
        theme: colours.

    Example:
        >>> border_curves([("conv1", [0.4, 0.0]), ("", [0.9, 0.5])], "difference")[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(3.6, theme)
    for place, (name, values) in enumerate(rows):
        found = np.asarray(values, dtype=np.float64)
        axes.plot(
            np.arange(len(found)),
            found,
            color=getattr(theme, SERIES[place % len(SERIES)]),
            linestyle=("-", "--", ":")[place // len(SERIES) % 3],
            marker="o" if len(found) < 12 else None,
            markersize=3.5,
            linewidth=1.7,
            label=short_name(name) or "output",
        )
    axes.set_xscale("symlog", linthresh=4, linscale=1.2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    longest = max((np.size(values) for _, values in rows), default=1)
    axes.set_xticks([t for t in (0, 1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512) if t < longest])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(said("distance from the border (cells of the layer's map)", unit))
    axes.set_ylabel(label)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=theme.ink, loc="upper right")
    return png(figure)


def probe_bars(rows: Sequence[Mapping[str, Any]], unit: str = "px", theme: Theme = LIGHT) -> bytes:
    """How well the place can be read off each layer, beside what the image itself tells.

    Args:
        rows: {"layer", "read", "image"} of each layer; shares of the variance of the place.
        unit: what pixels are called.
        theme: colours.

    Example:
        >>> probe_bars([{"layer": "conv1", "read": 0.4, "image": 0.1}])[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(1.3 + 0.42 * len(rows), theme)
    places = np.arange(len(rows))[::-1]
    for key, name, colour, shift in (
        ("read", "from the features", theme.first, 0.19),
        ("image", said("from the image itself", unit), theme.muted, -0.19),
    ):
        values = [max(0.0, 100 * (row[key] or 0.0)) for row in rows]
        axes.barh(places + shift, values, height=0.36, color=colour, label=name)
    axes.set_yticks(places, [short_name(row["layer"]) or "output" for row in rows])
    axes.set_xlim(0, 100)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("variance of the position that can be read (%)")
    axes.legend(
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        borderaxespad=0.1,
    )
    return png(figure)


def short_name(name: str, most: int = 22) -> str:
    """A name cut to what fits; a `$` would be read as mathematics.

    Example:
        >>> short_name("features.denseblock4.denselayer16", 12)
        '…enselayer16'
    """
    words = printable(name)
    short = words if len(words) <= most else f"…{words[1 - most :]}"
    return short.replace("$", r"\$")


def _apart(values: Sequence[int], least: float) -> list[int]:
    """Rising values of which none is nearer to the one before than so much."""
    kept: list[int] = []
    for value in values:
        if not kept or value - kept[-1] >= least:
            kept.append(value)
    return kept


def _log_if_wide(axes: Axes, values: FloatArray) -> None:
    known = values[np.isfinite(values)]
    if len(known) and known.min() > 0 and known.max() > 8 * known.min():
        axes.set_yscale("log")
    plain_axis(axes.yaxis)


def _name_some(axes: Axes, names: Sequence[str]) -> None:
    """As many names below the axis as fit."""
    places = np.unique(np.linspace(0, len(names) - 1, min(NAMED, len(names))).round().astype(int))
    axes.set_xticks(places, [short_name(names[i], 16) for i in places], rotation=35, ha="right")
