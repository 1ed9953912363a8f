"""What a report says of keypoints: its verdict, tiles, sections, figures and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from placewise.metrics import KEYPOINT_METRICS, Metric, Scores, in_unit
from placewise.report.canvas import (
    SHARES,
    border_bars,
    canvas,
    legend_above,
    plain_ticks,
    png,
    say,
    short,
)
from placewise.report.parts import (
    Card,
    Figure,
    Legend,
    Paragraph,
    Part,
    Photographs,
    Section,
    Table,
)
from placewise.report.run import LOSS_WORDS, SPLIT_WORDS, metric_table, metric_tiles
from placewise.report.style import LIGHT, Theme
from placewise.wording import number, span

Rows = Sequence[Mapping[str, Any]]

SHOWN = 40
"""Keypoints on the figure by keypoint: those with the largest errors."""

TILES = ("mean_error_px", "median_error_px", "p95_error_px", "mean_position_baseline_px")
"""Metrics that stand on top of the page."""

VALIDATION = Metric("val_error_px", "validation error", "px", "mean error on the validation images")
"""What training measures on the validation images."""

PX_WORDS = (
    "px",
    "Pixels of the image file. x points right, y points down, counting starts at 0, and an integer "
    "is the centre of a pixel. Of a volume these are voxels, and z points away; of a signal they "
    "are samples.",
)
KEYPOINT_WORDS = (
    (
        "keypoint",
        "A named position on the image, such as the tip of the nose. People label it, and the "
        "network predicts it.",
    ),
    PX_WORDS,
    SPLIT_WORDS,
    (
        "score of a keypoint",
        "How sure the network is that the keypoint is on the image, from 0 to 1. Keypoints with a "
        "low score are drawn as hollow marks.",
    ),
    (
        "radius_90",
        "A radius around a predicted keypoint that contains the true position 9 times out of 10. "
        "It is calibrated on the validation images by split conformal prediction; where there are "
        "too few of them for a radius that holds, there is none.",
    ),
    (
        "PCK",
        "Percentage of correct keypoints: the share of keypoints whose error is smaller than a "
        "part of a reference length. The reference length is the diagonal of the image, unless "
        "two keypoints were chosen for it.",
    ),
    (
        "distance from the border",
        "Networks often see worse near the border of an image. The distance is given as a share "
        "of half the shorter side: 0 % is the border, 100 % is as far from it as possible.",
    ),
    LOSS_WORDS,
)
"""(word, meaning) for a reader who sees such a report for the first time."""


def keypoint_tiles(scores: Scores) -> list[tuple[str, str]]:
    """The numbers that matter most.

    Example:
        >>> keypoint_tiles({"mean_error_px": 1.934, "split": "test", "images": 23})
        [('mean error', '1.93 px'), ('test images', '23')]
    """
    return metric_tiles(in_unit(KEYPOINT_METRICS, scores), TILES, scores)


def keypoint_sections(
    scores: Scores,
    *,
    errors: ArrayLike | None = None,
    worst: Sequence[Card] = (),
    best: Sequence[Card] = (),
) -> list[Section]:
    """What the report of a run shows of keypoints.

    Args:
        scores: what `metrics.json` holds.
        errors: errors in px of all labelled keypoints, of any shape; None where they are not known.
        worst: images with the largest errors, the largest first.
        best: images with the smallest errors.

    Example:
        >>> [section.title for section in keypoint_sections({"mean_error_px": 2.0})]
        ['Where the errors are', 'Images', 'Scores']
    """
    norm = (scores.get("pck") or {}).get("norm")
    of = "the diagonal of the image" if norm == "diagonal" else norm
    said = f"The reference length of PCK is {of}." if norm else ""
    return [
        Section("Where the errors are", _plots(scores, errors)),
        Section("Images", _images(scores, worst, best), console=False),
        Section("Scores", [metric_table(in_unit(KEYPOINT_METRICS, scores), scores, said)]),
    ]


def _plots(scores: Scores, errors: ArrayLike | None) -> list[Part]:
    points, border = scores.get("by_point") or [], scores.get("by_border_distance") or []
    unit = str(scores.get("unit", "px"))
    more: dict[str, Any] = {} if unit == "px" else {"unit": unit}
    found: list[Part] = []
    if errors is not None:
        said = "Share of keypoints below each error. The further up and left the curve, the better."
        median, high = number(scores.get("median_error_px")), number(scores.get("p95_error_px"))
        alt = f"Share of keypoints by error: half within {median} {unit}, 95 % within {high} {unit}"
        found.append(Figure(partial(error_curve, errors, **more), said, alt))
    if points:
        said = "Error of each keypoint: half of its errors are smaller than the round mark."
        alt = f"Mean error in {unit} of each keypoint: " + ", ".join(
            f"{row['point']} {number(row.get('mean_error_px'))}" for row in points[:SHOWN]
        )
        table = by_point_table(points, unit)
        found.append(Figure(partial(errors_by_point, points, **more), said, alt, table))
    if border:
        said = (
            "Error by distance from the border: the first bar is at the border, the last in the "
            "middle. If the first bar is much higher, the network sees worse at the border."
        )
        alt = f"Mean error in {unit} by distance from the border, from the border to the middle"
        table = by_border_table(border, unit)
        found.append(Figure(partial(errors_by_border, border, **more), said, alt, table))
    return found


def _images(scores: Scores, worst: Sequence[Card], best: Sequence[Card]) -> list[Part]:
    """Worst and best images under one legend."""
    if not (worst or best):
        return []
    alt = "Image with predicted and labelled keypoints"
    key = (
        "A filled mark is a predicted keypoint; it is hollow where the network is not sure that "
        "the keypoint is on the image. A white cross is the labelled position, a line joins the "
        "two, and a circle is radius_90."
    )
    parts: list[Part] = [
        Paragraph(key),
        Legend([row["point"] for row in scores.get("by_point") or []]),
    ]
    parts += [Photographs(worst, alt, "Largest errors")] if worst else []
    parts += [Photographs(best, alt, "Smallest errors")] if best else []
    return parts


def by_point_table(rows: Rows, unit: str = "px") -> Table:
    """Errors of each keypoint.

    Args:
        rows: `by_point` of `metrics.json`.
        unit: of the errors.

    Example:
        >>> print(by_point_table([{"point": "nose", "count": 9, "mean_error_px": 1.5,
        ...     "median_error_px": 1.25, "p95_error_px": 4.0}]).text())
        keypoint  labels  mean px  median px  95 % px
        ─────────────────────────────────────────────
        nose           9      1.5       1.25        4.0
    """
    keys = ("mean_error_px", "median_error_px", "p95_error_px")
    cells = [
        [row["point"], f"{row['count']:,}", *(number(row.get(key)) for key in keys)] for row in rows
    ]
    header = ["keypoint", "labels", *(f"{what} {unit}" for what in ("mean", "median", "95 %"))]
    return Table(header, cells, range(1, 5), folded="Show the numbers")


def by_border_table(rows: Rows, unit: str = "px") -> Table:
    """Errors by distance from the border.

    Args:
        rows: `by_border_distance` of `metrics.json`; shares are of half the shorter side.
        unit: of the errors.

    Example:
        >>> print(by_border_table([{"from_share": 0.0, "to_share": 0.1, "count": 0,
        ...     "mean_error_px": None}]).text())
        from the border  labels  mean px
        ────────────────────────────────
        0–10 %                0        –
        Distance as a share of half the shorter side: 0 % is the border, 100 % the middle.
    """
    cells = [
        [
            span(row),
            f"{row['count']:,}",
            number(row["mean_error_px"]),
        ]
        for row in rows
    ]
    return Table(
        ["from the border", "labels", f"mean {unit}"],
        cells,
        [1, 2],
        SHARES,
        folded="Show the numbers",
    )


def errors_by_point(rows: Rows, theme: Theme = LIGHT, *, unit: str = "px") -> bytes:
    """Median, mean and 95th percentile of the error of each keypoint.

    Args:
        rows: `by_point` of `metrics.json`.
        theme: colours.
        unit: of the errors.

    Returns:
        Bytes of a PNG; of more than 40 keypoints the worst.

    Example:
        >>> errors_by_point([{"point": "nose", "count": 9, "mean_error_px": 1.5,
        ...     "median_error_px": 1.2, "p95_error_px": 4.0}])[1:4]
        b'PNG'
    """
    known = [row for row in rows if row.get("mean_error_px") is not None]
    worst = sorted(known, key=lambda row: row["mean_error_px"])[-SHOWN:]
    figure, (axes,) = canvas(1.35 + 0.26 * max(3, len(worst)), theme)
    if not worst:
        say(axes, "no labelled keypoint", theme)
        return png(figure)
    places = np.arange(len(worst))
    mean, median, high = (
        np.array([_float(row[key]) for row in worst])
        for key in ("mean_error_px", "median_error_px", "p95_error_px")
    )
    axes.hlines(places, median, high, color=theme.first, alpha=0.45, linewidth=2)
    axes.plot(median, places, "o", color=theme.first, markersize=6, label="median")
    axes.plot(mean, places, "D", color=theme.second, markersize=5, label="mean")
    axes.plot(high, places, "|", color=theme.first, markersize=9, label="95th percentile")
    axes.set_yticks(places, [short(row["point"]) for row in worst])
    axes.set_ylim(-0.7, len(worst) - 0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"error ({unit})")
    axes.grid(axis="y", visible=False)
    legend_above(axes, theme)
    return png(figure)


def errors_by_border(rows: Rows, theme: Theme = LIGHT, *, unit: str = "px") -> bytes:
    """Mean error by distance from the border, with the number of labels in each bar.

    Args:
        rows: `by_border_distance` of `metrics.json`; shares are of half the shorter side.
        theme: colours.
        unit: of the errors.

    Example:
        >>> errors_by_border([{"from_share": 0.0, "to_share": 0.1, "count": 3,
        ...     "mean_error_px": 2.5}])[1:4]
        b'PNG'
    """
    means = np.array([_float(row["mean_error_px"]) for row in rows])
    label = f"mean error ({unit})"
    nothing = "no labelled keypoint"
    return png(border_bars(means, rows, label, nothing, theme, turned=True, unit=unit))


def error_curve(errors: ArrayLike, theme: Theme = LIGHT, *, unit: str = "px") -> bytes:
    """Share of keypoints whose error is at most so large (PCK over its threshold).

    Args:
        errors: distances, of any shape; NaN does not count.
        theme: colours.
        unit: of the distances.

    Example:
        >>> error_curve([0.5, 1.5, 8.0])[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(3.4, theme)
    known = np.asarray(errors, dtype=np.float64).ravel()
    known = np.sort(known[np.isfinite(known)])
    if not len(known):
        say(axes, "no labelled keypoint", theme)
        return png(figure)
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
        words = f"{name} within {number(place)} {unit}"
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
    axes.set_xlabel(f"error ({unit})")
    axes.set_ylabel("keypoints below the error (%)")
    plain_ticks(axes)
    return png(figure)


def _float(value: float | None) -> float:
    return np.nan if value is None else float(value)
