"""Figures of what a network does at each place: maps and curves, arrays in, bytes of a PNG out.

A map of two axes is drawn as it lies, one of one axis as a curve, and of three axes the middle of
the first is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from placewise.geometry import FloatArray
from placewise.report.canvas import WIDTH, canvas, png, whole_ticks
from placewise.report.layers import short_name
from placewise.report.style import LIGHT, Theme
from placewise.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "viridis"
"""Of maps: dark is little, light is much, told apart also without colour."""

FAINTEST = 1e-9
"""Share below which a logarithmic map does not go on."""

MOST = 2048
"""Places along an axis that are drawn; of a longer one, so many at equal distances."""

ACROSS = 3
"""Small maps in a row."""


TICKS = 12
"""Numbers below a small map, at most."""


def path_map(shares: ArrayLike, theme: Theme = LIGHT) -> bytes:
    """How many paths lead from each pixel to the output, on a logarithmic scale.

    The corners and the best-served pixel are annotated; pixels without any path have a colour of
    their own.

    Args:
        shares: of the best-served pixel's paths, in 0..1; one to three axes.
        theme: colours.

    Returns:
        Bytes of a PNG.

    Example:
        >>> path_map([[1.0, 0.5], [0.01, 0.0]])[1:4]
        b'PNG'
    """
    values = plane(shares)
    figure, (axes,) = _panels(1, values, theme)
    drawn = _draw(axes, values, theme, _range([values]), log=True)
    if values.ndim == 2:
        _bar(figure, [axes], drawn, "paths, as a share of the best-served place’s", theme)
        _annotate(axes, values, theme)
    else:
        axes.set_xlabel("sample")
        axes.set_ylabel("paths, as a share of the best")
    return png(figure)


def depth_maps(maps: Sequence[tuple[str, ArrayLike]], theme: Theme = LIGHT) -> bytes:
    """Path maps of several depths beside each other, on one logarithmic scale.

    Args:
        maps: (name, shares of its best place's paths) of each; a name may have two lines.
        theme: colours.

    Example:
        >>> depth_maps([("conv1", [[1.0, 0.5], [0.5, 0.25]]), ("conv2", [[1.0]])])[1:4]
        b'PNG'
    """
    return _small(maps, theme, "paths, as a share of the best-served place’s", log=True)


def beside(maps: Sequence[tuple[str, ArrayLike]], label: str, theme: Theme = LIGHT) -> bytes:
    """Maps beside each other, each relative to its own mean, on one scale.

    Args:
        maps: (name, values) of each.
        label: what the values are.
        theme: colours.

    Example:
        >>> beside([("measured", [[1.0, 2.0]]), ("predicted", [[1.0, 1.0]])], "share")[1:4]
        b'PNG'
    """
    relative = []
    for name, values in maps:
        found = np.asarray(values, dtype=np.float64)
        mean = float(np.nanmean(found)) if np.isfinite(found).any() else 0.0
        relative.append((name, found / mean if mean else found))
    return _small(relative, theme, label, log=False)


def share_map(shares: ArrayLike, label: str, theme: Theme = LIGHT) -> bytes:
    """A map of shares as percent, with the numbers written in where they fit.

    Args:
        shares: in 0..1; one to three axes.
        label: what they are shares of.
        theme: colours.

    Example:
        >>> share_map([[0.1, 0.2], [0.3, 0.0]], "padding")[1:4]
        b'PNG'
    """
    values = 100 * plane(shares)
    figure, (axes,) = _panels(1, values, theme)
    top = _top(values)
    drawn = _draw(axes, values, theme, (0.0, top), log=False)
    if values.ndim == 2:
        _bar(figure, [axes], drawn, f"{label} (%)", theme)
        _write_in(axes, values, top)
    else:
        axes.set_xlabel("place")
        axes.set_ylabel(f"{label} (%)")
    return png(figure)


def field_map(
    energy: ArrayLike, side: float, box: Sequence[tuple[float, float]] = (), theme: Theme = LIGHT
) -> bytes:
    """The effective receptive field of a unit, with its theoretical one as a frame.

    Args:
        energy: absolute gradient by pixel, one to three axes.
        side: of the square that is as large as the effective field, in pixels.
        box: (first, last) pixel of the theoretical field along each axis.
        theme: colours.

    Example:
        >>> field_map(np.eye(5), 2.0, [(0, 3), (0, 3)])[1:4]
        b'PNG'
    """
    found = np.asarray(energy, dtype=np.float64)
    values = np.sqrt(plane(found / (found.max() or 1.0)))
    figure, (axes,) = _panels(1, values, theme)
    drawn = _draw(axes, values, theme, (0.0, 1.0), log=False)
    if values.ndim == 1:
        axes.set_xlabel("sample")
        axes.set_ylabel("√ of the effect, as a share of the largest")
        return png(figure)
    _bar(figure, [axes], drawn, "√ of the effect, as a share of the largest", theme)
    rows, columns = np.indices(values.shape)
    weight = values**2 / max(float((values**2).sum()), 1e-300)
    middle = float((columns * weight).sum()), float((rows * weight).sum())
    _square(axes, (middle[0] - side / 2, middle[1] - side / 2), (side, side), theme.second, "-")
    if box:
        (top, bottom), (left, right) = box[-2:]
        size = right - left + 1, bottom - top + 1
        _square(axes, (left - 0.5, top - 0.5), size, "#ffffff", "--")
    return png(figure)


def grid_map(
    values: ArrayLike,
    offsets: Sequence[Sequence[int]],
    label: str,
    axis_label: str,
    unit: str = "px",
    theme: Theme = LIGHT,
) -> bytes:
    """A small map whose cells stand for offsets in pixels, with its numbers written in.

    Args:
        values: one to three axes.
        offsets: in pixels, for each axis.
        label: what the values are.
        axis_label: what the offsets are, e.g. "moved by"; what follows is the direction.
        unit: what pixels are called.
        theme: colours.

    Example:
        >>> grid_map([[0.0, 5.0]], [[0], [0, 1]], "changed answers (%)", "moved by")[1:4]
        b'PNG'
    """
    found = plane(values)
    figure, (axes,) = _panels(1, found, theme)
    top = _top(found)
    drawn = _draw(axes, found, theme, (0.0, top), log=False)
    every = -(-found.shape[-1] // TICKS)
    named = [str(offset) for offset in offsets[-1]]
    axes.set_xticks(range(0, found.shape[-1], every), named[::every])
    axes.set_xlabel(
        f"{axis_label} ({unit})" if found.ndim == 1 else f"{axis_label}, to the right ({unit})"
    )
    if found.ndim == 2:
        axes.set_yticks(range(found.shape[0]), [str(offset) for offset in offsets[-2]])
        axes.set_ylabel(f"{axis_label}, down ({unit})")
        _bar(figure, [axes], drawn, label, theme)
        _write_in(axes, found, top)
    else:
        axes.set_ylabel(label)
    return png(figure)


def _top(values: FloatArray) -> float:
    """The largest value, or 1 where there is none above 0, so that a bar of colours has an end."""
    top = float(np.nanmax(values, initial=0.0))
    return top if top > FAINTEST else 1.0


def plane(values: ArrayLike) -> FloatArray:
    """What is drawn of a map: of three axes the middle of the first.

    Example:
        >>> plane(np.zeros((5, 3, 4))).shape, plane(np.zeros(7)).shape
        ((3, 4), (7,))
    """
    found = np.asarray(values, dtype=np.float64)
    while found.ndim > 2:
        found = found[found.shape[0] // 2]
    return found


def fraction(share: float) -> str:
    """A share of the best as people say it.

    Example:
        >>> fraction(1.0), fraction(0.4), fraction(0.009), fraction(0.0)
        ('1', '1/2.5', '1/111', '0')
    """
    if not share > 0:
        return "0"
    text = number(1 / share).removesuffix(".0")
    return "1" if text == "1" else f"1/{text}"


def _panels(count: int, values: FloatArray, theme: Theme) -> tuple[Figure, list[Axes]]:
    """Panels for maps of about this shape, and a bar of colours below them."""
    columns = min(ACROSS, count)
    if values.ndim == 1:
        return canvas(3.2 if count == 1 else 1.6 * -(-count // columns), theme, count, columns)
    tall = min(max(values.shape[0] / values.shape[1], 0.3), 2.0)
    each = (WIDTH - 0.5) / columns * tall + 0.5 * (count > 1)
    return canvas(0.75 + -(-count // columns) * each, theme, count, columns)


def _draw(
    axes: Axes, values: FloatArray, theme: Theme, span: tuple[float, float], *, log: bool
) -> Any:
    """One map on its axes; what is handed back knows the colours."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    low, high = span
    if values.ndim == 1:
        axes.plot(np.where(values > 0, values, np.nan) if log else values, color=theme.first)
        if log:
            axes.set_yscale("log")
            axes.set_ylim(low / 1.2, 1.2)
            axes.yaxis.set_major_formatter(lambda value, _: fraction(value))
            axes.yaxis.set_minor_formatter(lambda value, _: "")
            if low > 0.09:
                axes.set_yticks([1 / over for over in (1, 2, 3, 5, 10) if 1 / over >= low])
            blind = np.flatnonzero(values <= 0)
            axes.plot(blind, np.full(len(blind), low), "|", color=theme.second, markersize=9)
        else:
            axes.set_ylim(0, high * 1.05)
        return None
    colours = colormaps[COLOURS].with_extremes(bad=theme.second)
    high_side, wide_side = values.shape
    values = _thinned(values)
    shown: NDArray[Any] = np.where(values > 0, np.maximum(values, low), np.nan) if log else values
    norm = LogNorm(low, high) if log else Normalize(low, high)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    extent = (-0.5, wide_side - 0.5, high_side - 0.5, -0.5)
    whole_ticks(axes.xaxis)
    whole_ticks(axes.yaxis)
    return axes.imshow(shown, cmap=colours, norm=norm, interpolation="nearest", extent=extent)


def _thinned(values: FloatArray) -> FloatArray:
    """A map of at most `MOST` places along each axis, the first and the last included."""
    kept = [np.linspace(0, side - 1, min(side, MOST)).round().astype(int) for side in values.shape]
    return values if max(values.shape) <= MOST else values[np.ix_(*kept)]


def _small(maps: Sequence[tuple[str, ArrayLike]], theme: Theme, label: str, *, log: bool) -> bytes:
    """Small maps under their names, with one bar of colours."""
    planes = [plane(values) for _, values in maps]
    figure, panels = _panels(len(maps), planes[0], theme)
    known = [values for values in planes if np.isfinite(values).any()]
    span = _range(planes) if log else (0.0, max((float(np.nanmax(v)) for v in known), default=1.0))
    drawn = None
    for axes, (name, _), values in zip(panels, maps, planes, strict=True):
        drawn = _draw(axes, values, theme, span, log=log)
        lines = [short_name(line) for line in name.split("\n")]
        axes.set_title("\n".join(lines), fontsize=8, color=theme.ink)
        if values.ndim == 2:
            axes.set_xticks([])
            axes.set_yticks([])
    if drawn is not None:
        _bar(figure, panels, drawn, label, theme)
    return png(figure)


def _range(maps: Sequence[FloatArray]) -> tuple[float, float]:
    """From the least share that is no zero to 1, half a decade at least."""
    least = min((float(v[v > 0].min()) for v in maps if (v > 0).any()), default=1.0)
    return min(max(least, FAINTEST), 0.3), 1.0


def _bar(figure: Figure, panels: Sequence[Axes], drawn: Any, label: str, theme: Theme) -> None:
    """The bar of colours below the maps."""
    from matplotlib.colors import LogNorm

    bar = figure.colorbar(drawn, ax=list(panels), location="bottom", shrink=0.9, pad=0.03)
    bar.ax.tick_params(which="both", colors=theme.muted, length=0, labelsize=9)
    bar.outline.set_visible(False)
    bar.set_label(label, color=theme.ink, fontsize=9.5)
    if isinstance(drawn.norm, LogNorm):
        low = float(drawn.norm.vmin or 1.0)
        wide = max(1, math.ceil(-math.log10(low) / 6))
        shares = [10.0**-k for k in range(0, 13, wide)] if low < 0.09 else [1, 0.5, 0.3, 0.2, 0.1]
        kept = [share for share in shares if share >= low * 0.999]
        bar.set_ticks(kept, labels=[fraction(share) for share in kept])
        bar.ax.minorticks_off()


def _annotate(axes: Axes, values: FloatArray, theme: Theme) -> None:
    """The shares in the corners, and a cross on the best place."""
    bottom, right = values.shape[0] - 1, values.shape[1] - 1
    gap = 0.02
    for row, column, x, y in (
        (0, 0, gap, 1 - gap),
        (0, right, 1 - gap, 1 - gap),
        (bottom, 0, gap, gap),
        (bottom, right, 1 - gap, gap),
    ):
        axes.text(
            x,
            y,
            fraction(float(values[row, column])),
            transform=axes.transAxes,
            ha="left" if column == 0 else "right",
            va="top" if row == 0 else "bottom",
            fontsize=9.5,
            color=theme.ink,
            bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.85, "pad": 2.5},
        )
    best = np.argwhere(values == values.max())
    nearest = np.abs(best - (np.array(values.shape) - 1) / 2).sum(1).argmin()
    axes.plot(best[nearest][1], best[nearest][0], "+", color="#101010", markersize=9)


def _write_in(axes: Axes, values: FloatArray, top: float) -> None:
    """Numbers in the cells of a map that has few."""
    if max(values.shape) > 12:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(
                column,
                row,
                number(float(value), 2),
                ha="center",
                va="center",
                fontsize=8,
                color="#101010" if value > 0.55 * top else "#ffffff",
            )


def _square(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], colour: str, line: str
) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(corner, *size, fill=False, edgecolor=colour, linestyle=line, linewidth=1.6)
    )
