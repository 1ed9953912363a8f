"""What a report shows of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from placewise.metrics import Metric
from placewise.report.canvas import canvas, png
from placewise.report.parts import Card, Figure, Paragraph, Photographs, Section, Table
from placewise.report.run import metric_table
from placewise.report.style import LIGHT, Theme
from placewise.tasks.masks.scoring import MASK_METRICS, TOLERANCE
from placewise.wording import number

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
        f"How much of the outlines is within {TOLERANCE:g} px (of volumes: mm) of the other.",
    ),
    (
        "HD95",
        "How far apart the outlines are, but for the worst 5 of 100 places. Images where a class "
        "is missed or invented altogether have no distance and are counted apart.",
    ),
)

KEY = (
    "On the left is the image: solid lines are predicted outlines, dashed white ones labelled. "
    "On the right white is right, orange is missed, blue is found where nothing is labelled; the "
    "dark parts are background, and ignored pixels are left dark too."
)


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
    parts = [metric_table([main, *MASK_METRICS], scores), class_table(scores)]
    border = scores.get("by_border_distance") or []
    said = (
        "Scores by the distance from the border of the image, as shares of half its shorter side: "
        "0 is the border, 1 the middle."
    )
    alt = "Dice by distance from the border"
    draw = partial(border_figure, border)
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
        found.append(Section("Images", [Paragraph(KEY), *shown], console=False))
    return found


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
        "labelled; images where it is neither have no Dice."
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
        [['0 to 0.1', '4', '0.5', '0.3', '–', '0.5']]
    """
    body = [
        [
            f"{row['from_share']:g} to {row['to_share']:g}",
            f"{row['pixels']:,}",
            *(number(row[key]) for key in ("dice", "iou", "cldice", "boundary_f1")),
        ]
        for row in rows
    ]
    header = ("distance", "labelled pixels", "Dice", "IoU", "clDice", "boundary F₁")
    return Table(header, body, range(1, 6), folded="Show the numbers")


def border_figure(rows: Sequence[Scores], theme: Theme = LIGHT) -> bytes:
    """Dice and clDice from the border to the middle.

    Args:
        rows: `by_border_distance` of `metrics.json`.
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
    axes.set_xticks(places, [f"{row['from_share']:g}–{row['to_share']:g}" for row in rows])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("distance from the border (0: border, 1: middle)")
    axes.set_ylabel("score")
    axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=theme.ink)
    return png(figure)
