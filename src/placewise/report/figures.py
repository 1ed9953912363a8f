"""Figures of a report: plain numbers in, bytes of a PNG out.

They are drawn by matplotlib's objects, never by pyplot, so nothing global changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from placewise.geometry import FloatArray
from placewise.report.canvas import canvas
from placewise.report.canvas import png as _png
from placewise.report.style import LIGHT, Theme
from placewise.wording import number, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

SHOWN = 40
"""Points on the figure by point: the worst are kept."""


def curves(log: Rows, theme: Theme = LIGHT) -> bytes:
    """Loss and score on validation images over the steps.

    Args:
        log: lines of `log.jsonl`: {"step", "loss", ...}, and {"step", "val_error_px"} or {"step",
            "val_log_loss"}.
        theme: colours.

    Returns:
        Bytes of a PNG.

    Example:
        >>> curves([{"step": 1, "loss": 2.0}, {"step": 2, "val_error_px": 9.5}])[1:4]
        b'PNG'
    """
    figure, (above, below) = canvas(4.4, theme, panels=2)
    steps, losses = _series(log, "loss")
    above.plot(steps, losses, color=theme.first, alpha=0.35, linewidth=1)
    above.plot(steps, _smooth(losses), color=theme.first, linewidth=1.8)
    above.set_ylabel("training loss")
    if len(losses) and losses.min() > 0 and losses.max() > 20 * losses.min():
        above.set_yscale("log")
    classes = any("val_log_loss" in line for line in log)
    steps, found = _series(log, "val_log_loss" if classes else "val_error_px")
    below.plot(steps, found, color=theme.second, linewidth=1.8, marker="o", markersize=3)
    below.set_ylabel("validation log loss" if classes else "validation error (px)")
    below.set_xlabel("step")
    if len(found):
        if found.min() > 0 and found.max() > 8 * found.min():
            below.set_yscale("log")
        best = int(found.argmin())
        below.plot(steps[best], found[best], "o", color=theme.third, markersize=7)
        unit = "" if classes else " px"
        words = f"best: {number(float(found[best]))}{unit} at step {int(steps[best]):,}"
        below.set_title(words, loc="right", color=theme.third, fontsize=9)
    for axes, values in ((above, losses), (below, found)):
        _plain_ticks(axes)
        if not len(values):
            _say(axes, "nothing was logged", theme)
    return _png(figure)


def errors_by_point(rows: Rows, theme: Theme = LIGHT) -> bytes:
    """Median, mean and 95th percentile of the error of each point.

    Args:
        rows: `by_point` of `metrics.json`.
        theme: colours.

    Returns:
        Bytes of a PNG; of more than 40 points the worst.

    Example:
        >>> errors_by_point([{"point": "nose", "count": 9, "mean_error_px": 1.5,
        ...     "median_error_px": 1.2, "p95_error_px": 4.0}])[1:4]
        b'PNG'
    """
    known = [row for row in rows if row.get("mean_error_px") is not None]
    worst = sorted(known, key=lambda row: row["mean_error_px"])[-SHOWN:]
    figure, (axes,) = canvas(1.35 + 0.26 * max(3, len(worst)), theme)
    if not worst:
        _say(axes, "no labelled point", theme)
        return _png(figure)
    places = np.arange(len(worst))
    mean, median, high = (
        np.array([_float(row[key]) for row in worst])
        for key in ("mean_error_px", "median_error_px", "p95_error_px")
    )
    axes.hlines(places, median, high, color=theme.first, alpha=0.45, linewidth=2)
    axes.plot(median, places, "o", color=theme.first, markersize=6, label="median")
    axes.plot(mean, places, "D", color=theme.second, markersize=5, label="mean")
    axes.plot(high, places, "|", color=theme.first, markersize=9, label="95th percentile")
    axes.set_yticks(places, [_label(row) for row in worst])
    axes.set_ylim(-0.7, len(worst) - 0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel("error (px)")
    axes.grid(axis="y", visible=False)
    _legend_above(axes, theme)
    return _png(figure)


def errors_by_border(rows: Rows, theme: Theme = LIGHT) -> bytes:
    """Mean error by distance from the border, with the number of labels in each bar.

    Args:
        rows: `by_border_distance` of `metrics.json`; shares are of half the shorter side.
        theme: colours.

    Example:
        >>> errors_by_border([{"from_share": 0.0, "to_share": 0.1, "count": 3,
        ...     "mean_error_px": 2.5}])[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(3.4, theme)
    means = np.array([_float(row["mean_error_px"]) for row in rows])
    if not np.isfinite(means).any():
        _say(axes, "no labelled point", theme)
        return _png(figure)
    places = np.arange(len(rows))
    axes.bar(places, np.nan_to_num(means), width=0.82, color=theme.first)
    for place, row, mean in zip(places, rows, np.nan_to_num(means), strict=True):
        words = f"{row['count']:,}" if row["count"] else "none"
        axes.annotate(
            words,
            (place, mean),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=theme.muted,
        )
    shares = [f"{100 * row['from_share']:.3g}–{100 * row['to_share']:.3g}" for row in rows]
    axes.set_xticks(places, shares, rotation=35 if len(rows) > 6 else 0)
    axes.set_ylim(0, float(np.nanmax(means)) * 1.15 or 1.0)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("distance from the border (% of half the shorter side)")
    axes.set_ylabel("mean error (px)")
    axes.set_title("number of labels above each bar", loc="right", color=theme.muted, fontsize=9)
    return _png(figure)


def error_curve(errors: ArrayLike, theme: Theme = LIGHT) -> bytes:
    """Share of keypoints that are at most so far off (PCK over its threshold).

    Args:
        errors: distances in px, of any shape; NaN does not count.
        theme: colours.

    Example:
        >>> error_curve([0.5, 1.5, 8.0])[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(3.4, theme)
    known = np.asarray(errors, dtype=np.float64).ravel()
    known = np.sort(known[np.isfinite(known)])
    if not len(known):
        _say(axes, "no labelled point", theme)
        return _png(figure)
    low = max(float(known[len(known) // 20]) / 2, 0.02)
    distance = np.concatenate([[low], np.maximum(known, low)])
    axes.step(
        distance,
        100 * np.arange(len(known) + 1) / len(known),
        where="post",
        color=theme.first,
        linewidth=1.8,
    )
    for level, name in ((50, "half"), (95, "95 %")):
        place = max(low, float(np.percentile(known, level)))
        axes.plot(place, level, "o", color=theme.second, markersize=5)
        words = f"{name} within {number(place)} px"
        axes.annotate(
            words,
            (place, level),
            (-8, 2),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=theme.ink,
        )
    axes.set_xscale("log")
    axes.set_xlim(low, float(known[-1]) * 1.6)
    axes.set_ylim(0, 104)
    axes.set_xlabel("error (px)")
    axes.set_ylabel("keypoints that are closer (%)")
    _plain_ticks(axes)
    return _png(figure)


def _series(log: Rows, key: str) -> tuple[FloatArray, FloatArray]:
    """(steps, values) of the lines that have a number under this key."""
    pairs = [(line["step"], line[key]) for line in log if line.get(key) is not None]
    found = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    found = found[np.isfinite(found).all(1)]
    return found[:, 0], found[:, 1]


def _smooth(values: FloatArray) -> FloatArray:
    """Mean over a twentieth of the line about each place, which shrinks at both ends."""
    half = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(np.minimum(places, len(values) - 1 - places), half)
    return np.asarray((sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1))


def _plain_ticks(axes: Axes) -> None:
    """Ticks as plain numbers, on a logarithmic axis at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        if scale == "log":
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
            axis.set_minor_formatter(NullFormatter())


def _legend_above(axes: Axes, theme: Theme) -> None:
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


def _label(row: Mapping[str, Any]) -> str:
    """A point's name, cut to what fits, with `$` kept from being read as mathematics."""
    words = printable(str(row["point"]))
    short = words if len(words) <= 24 else f"{words[:12]}…{words[-11:]}"
    return short.replace("$", r"\$")


def _say(axes: Axes, words: str, theme: Theme) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=theme.muted)


def _float(value: float | None) -> float:
    return np.nan if value is None else float(value)
