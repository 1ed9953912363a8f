"""Tables of scores of keypoints for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placewise.metrics import KEYPOINT_METRICS, Scores
from placewise.report.text import table
from placewise.wording import number, share


def scores_table(scores: Scores) -> str:
    """What `metrics.json` holds, each number with its meaning, then the points.

    Example:
        >>> print(scores_table({"mean_error_px": 1.934, "split": "test", "images": 23}))
        23 test images
        <BLANKLINE>
        mean error  1.93 px  distance from a predicted keypoint to its labelled ...
    """
    rows = [
        (score.label, score.shown(score.of(scores)), score.meaning)
        for score in KEYPOINT_METRICS
        if score.of(scores) is not None
    ]
    parts = [f"{scores.get('images', '?')} {scores.get('split', '')} images"]
    parts += [table(["", "", ""], rows, numbers=[1])] if rows else ["no score could be measured"]
    if scores.get("by_point"):
        parts.append(points_table(scores["by_point"]))
    if scores.get("by_border_distance"):
        parts.append(border_table(scores["by_border_distance"]))
    return "\n\n".join(parts)


def points_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Errors of each point.

    Args:
        rows: `by_point` of `metrics.json`.

    Example:
        >>> print(points_table([{"point": "nose", "count": 9, "mean_error_px": 1.5,
        ...     "median_error_px": 1.25, "p95_error_px": 4.0}]))
        point  labels  mean px  median px  95 % px
        ──────────────────────────────────────────
        nose        9      1.5       1.25        4.0
    """
    keys = ("mean_error_px", "median_error_px", "p95_error_px")
    cells = [
        [row["point"], f"{row['count']:,}", *(number(row.get(key)) for key in keys)] for row in rows
    ]
    return table(["point", "labels", "mean px", "median px", "95 % px"], cells, numbers=range(1, 5))


def border_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Errors by distance from the border.

    Args:
        rows: `by_border_distance` of `metrics.json`; shares are of half the shorter side.

    Example:
        >>> print(border_table([{"from_share": 0.0, "to_share": 0.1, "count": 0,
        ...     "mean_error_px": None}]))
        from the border  labels  mean px
        ────────────────────────────────
        0 % to 10 %           0        –
        (distance as a share of half the shorter side: 0 % is the border, 100 % the middle)
    """
    cells = [
        [
            f"{share(row['from_share'])} to {share(row['to_share'])}",
            f"{row['count']:,}",
            number(row["mean_error_px"]),
        ]
        for row in rows
    ]
    found = table(["from the border", "labels", "mean px"], cells, numbers=[1, 2])
    note = "(distance as a share of half the shorter side: 0 % is the border, 100 % the middle)"
    return f"{found}\n{note}"
