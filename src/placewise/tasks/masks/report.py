"""What a report shows of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from placewise.metrics import Metric
from placewise.report.canvas import SHARES, border_label, canvas, png
from placewise.report.parts import Card, Figure, Paragraph, Photographs, Section, Table
from placewise.report.run import metric_table
from placewise.report.style import LIGHT, Theme
from placewise.tasks.masks.scoring import MASK_METRICS, TOLERANCE
from placewise.wording import number, span

Scores = Mapping[str, Any]

MASK_WORDS = (
    (
        "Dice and IoU",
        "How much two masks overlap, from 0 (nowhere) to 1 (the same). All images count together, "
        "pixel by pixel.",
    ),
    (
        "clDice",
        "Like Dice, but of the middle lines of the masks: it falls when a thin thing is broken or "
        "missed, however few pixels that are.",
    ),
    (
        "boundary F₁ and surface Dice",
        "How much of the outlines is near the other one: within the distance that the table of "
        "scores names.",
    ),
    (
        "HD95",
        "How far apart the outlines are, but for the worst 5 of 100 places. Images where a class "
        "is missed or invented altogether have no distance and are counted apart.",
    ),
)

ERRORS = (
    "white is right, orange is missed, blue is found where nothing is labelled; the dark parts are "
    "background, and ignored pixels are left dark too."
)
KEYS = {
    "px": "On the left is the image: solid lines are predicted outlines, dashed white ones "
    f"labelled. On the right {ERRORS}",
    "voxels": "Each volume is shown as three slices at right angles. Above, solid lines are "
    f"predicted outlines, dashed white ones labelled. Below, {ERRORS}",
    "samples": "The ground is grey where what is found is labelled too, orange where something is "
    "missed, blue where something is found and not labelled. A dark bar is below what is labelled.",
}
"""What the pictures mean, by what pixels are called."""


def sections(
    scores: Scores, main: Metric, best: Sequence[Card] = (), worst: Sequence[Card] = ()
) -> list[Section]:
    """Scores, each class, the border, and the worst and best images.

    Args:
        scores: what `metrics.json` holds.
        main: the metric of the task.
        best: (caption, drawn image) of the best samples.
        worst: the same of the worst ones.
    """
    near = [_in_mm(one) if "tolerance_mm" in scores else one for one in MASK_METRICS]
    parts = [metric_table([main, *near], scores), class_table(scores)]
    border = scores.get("by_border_distance") or []
    said = (
        "Scores by the distance from the border of the image: if they are lower in the first band, "
        "the network sees worse at the border."
    )
    alt = "Dice by distance from the border"
    draw = partial(border_figure, border, str(scores.get("unit", "px")))
    edges = [Figure(draw, said, alt, border_table(border))] if border else []
    found = [
        Section("Scores", parts),
        Section("From the border to the middle", list(edges)),
    ]
    shown = [
        Photographs(cards, "Image with its mask", f"{title} images by {main.label}")
        for title, cards in (("Worst", worst), ("Best", best))
        if cards
    ]
    if shown:
        found.append(
            Section(
                "Images", [Paragraph(KEYS[str(scores.get("unit", "px"))]), *shown], console=False
            )
        )
    return found


def _in_mm(metric: Metric) -> Metric:
    """The metric as it is measured where the distances of the pixels are known."""
    px, mm = (f"within {TOLERANCE:g} {unit}" for unit in ("px", "mm"))
    return replace(metric, meaning=metric.meaning.replace(px, mm))


def class_table(scores: Scores) -> Table:
    """Scores of each class, over all pixels and per image.

    Args:
        scores: what `metrics.json` holds.
    """
    rows = []
    unit = "mm" if "tolerance_mm" in scores else "px"
    for name, one in scores["by_class"].items():
        each = one["per_image"]["dice"]
        shown = ("dice", "iou", "cldice", "boundary_f1", f"hd95_{unit}")
        spread = "" if each["sd"] is None else f" ± {number(each['sd'])}"
        rows.append(
            [
                name,
                *(number(one[key]) for key in shown),
                f"{number(each['mean'])}{spread}",
                f"{one['missed_images']:,}",
                f"{one['invented_images']:,}",
                f"{one['empty_images']:,}",
            ]
        )
    header = (
        "class",
        "Dice",
        "IoU",
        "clDice",
        "boundary F₁",
        f"HD95 ({unit})",
        "Dice per image",
        "missed",
        "invented",
        "in neither",
    )
    caption = (
        "Each class over all images together, and Dice as mean ± standard deviation over images. "
        "Missed: images where the class is labelled and not found; invented: found and not "
        "labelled; images where it is in neither have no Dice."
    )
    return Table(header, rows, range(1, len(header)), caption)


def border_table(rows: Sequence[Scores]) -> Table:
    """Scores in bands from the border to the middle.

    Args:
        rows: `by_border_distance` of `metrics.json`.

    Example:
        >>> row = {"from_share": 0.0, "to_share": 0.1, "pixels": 4, "dice": 0.5, "iou": 0.3,
        ...        "cldice": None, "boundary_f1": 0.5, "nsd": 0.5}
        >>> border_table([row]).rows
        [['0–10 %', '4', '0.5', '0.3', '–', '0.5']]
    """
    body = [
        [
            span(row),
            f"{row['pixels']:,}",
            *(number(row[key]) for key in ("dice", "iou", "cldice", "boundary_f1")),
        ]
        for row in rows
    ]
    header = ("from the border", "labelled pixels", "Dice", "IoU", "clDice", "boundary F₁")
    return Table(header, body, range(1, 6), SHARES, folded="Show the numbers")


def border_figure(rows: Sequence[Scores], unit: str = "px", theme: Theme = LIGHT) -> bytes:
    """Dice and clDice from the border to the middle.

    Args:
        rows: `by_border_distance` of `metrics.json`.
        unit: what the pixels are called.
        theme: colours.

    Example:
        >>> row = {"from_share": 0.0, "to_share": 0.1, "dice": 0.5, "cldice": None}
        >>> border_figure([row])[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(3.2, theme)
    places = np.arange(len(rows))
    for key, label, colour in (("dice", "Dice", theme.first), ("cldice", "clDice", theme.second)):
        known = [(place, row[key]) for place, row in enumerate(rows) if row[key] is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o-", color=colour, label=label, markersize=5)
    axes.set_xticks(places, [span(row).removesuffix(" %") for row in rows])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(border_label(unit))
    axes.set_ylabel("score")
    if axes.lines:
        axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=theme.ink)
    return png(figure)
