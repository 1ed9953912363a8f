"""What a report says of objects: its tiles, sections, figures and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from placewise.metrics import Metric, Scores
from placewise.report.canvas import SHARES, WIDTH, canvas, png, whole_ticks
from placewise.report.parts import Card, Figure, Paragraph, Part, Photographs, Section, Table
from placewise.report.run import LOSS_WORDS, SPLIT_WORDS, kind_of, metric_table, metric_tiles
from placewise.report.style import LIGHT, Theme
from placewise.wording import number, share, span

AP_50 = Metric(
    "ap_at_iou/0.50",
    "AP at IoU 0.5",
    "",
    "objects found, over objects found, false and missed; found means that prediction and label "
    "share at least half of the pixels of both together",
    "higher",
    equal=0.01,
)

VALIDATION = Metric("val_ap", "validation AP", "", "AP at an IoU of 0.5", "higher")
"""What training measures on the validation images."""

METRICS = (
    AP_50,
    Metric(
        "ap_at_iou/0.70",
        "AP at IoU 0.7",
        "",
        "the same, where prediction and label share at least 0.7",
        "higher",
    ),
    Metric("mean_ap", "mean AP", "", "mean of AP at IoU 0.5, 0.55, … 0.95", "higher"),
    Metric(
        "pq",
        "panoptic quality",
        "",
        "F₁ times the mean IoU of the objects that were found",
        "higher",
    ),
    Metric("f1", "F₁", "", "2PR / (P + R) of precision P and recall R", "higher"),
    Metric("precision", "precision", "%", "predicted objects that are right", "higher"),
    Metric("recall", "recall", "%", "labelled objects that are found", "higher"),
    Metric("sq", "mean IoU of found objects", "", "how well they are outlined", "higher"),
    Metric(
        "counting_mae",
        "counting error",
        "",
        "predicted less labelled number of objects of an image, without its sign, on average",
    ),
    Metric(
        "counting_bias",
        "counting bias",
        "",
        "the same with its sign: above 0, too many objects are predicted",
        None,
    ),
    Metric(
        "touching/separated",
        "touching pairs separated",
        "%",
        "pairs of labelled objects that touch of which both are found",
        "higher",
    ),
    Metric(
        "touching/merged",
        "touching pairs merged",
        "%",
        "pairs of labelled objects that touch of which most lies in one predicted object",
    ),
)
"""Metrics of objects, the most important first."""

TILES = ("ap_at_iou/0.50", "ap_at_iou/0.70", "pq", "counting_mae")
"""Metrics that stand on top of the page."""

INSTANCE_WORDS = (
    SPLIT_WORDS,
    (
        "IoU",
        "Intersection over union: pixels that a predicted and a labelled object share, over the "
        "pixels that belong to either of them. 1 is a perfect outline.",
    ),
    (
        "AP at an IoU",
        "TP / (TP + FP + FN): objects found, over objects found, predicted but not labelled, and "
        "labelled but not found. This is what papers on cells call average precision; the AP of "
        "COCO is another number.",
    ),
    LOSS_WORDS,
)
"""(word, meaning) for a reader who sees such a report for the first time."""


def verdict(scores: Scores) -> str:
    """The first sentence of a report.

    Example:
        >>> verdict({"images": 2, "split": "test", "objects": 9, "predicted": 8, "recall": 0.5,
        ...     "precision": 0.75, "ap_at_iou": {"0.50": 0.4}})
        'On 2 test images 50 % of the 9 labelled objects are found, and 75 % of the 8 predicted
        objects are right (IoU ≥ 0.5).'
    """
    where = f"{scores['images']:,} {kind_of(scores['split'])} images"
    if not scores["objects"]:
        return f"No object is labelled on the {where}, and {scores['predicted']:,} are predicted."
    if not scores["predicted"]:
        return f"None of the {scores['objects']:,} labelled objects on {where} is found."
    return (
        f"On {where} {share(scores['recall'])} of the {scores['objects']:,} labelled objects are "
        f"found, and {share(scores['precision'])} of the {scores['predicted']:,} predicted objects "
        "are right (IoU ≥ 0.5)."
    )


def instance_tiles(scores: Scores) -> list[tuple[str, str]]:
    """The numbers that matter most.

    Example:
        >>> instance_tiles({"pq": 0.7, "split": "test", "images": 200})
        [('panoptic quality', '0.7'), ('test images', '200')]
    """
    return metric_tiles(METRICS, TILES, scores)


def instance_sections(
    scores: Scores, *, worst: Sequence[Card] = (), best: Sequence[Card] = ()
) -> list[Section]:
    """What the report of a run shows of objects.

    Args:
        scores: what `metrics.json` holds.
        worst: images with the lowest AP.
        best: images with the highest AP.

    Example:
        >>> [section.title for section in instance_sections({"pq": 1.0})]
        ['Images', 'Scores']
    """
    found = [Section("Images", _images(worst, best), console=False)]
    plots = _plots(scores)
    if plots:
        found.append(Section("How well objects are outlined and counted", plots))
    found.append(Section("Scores", [metric_table(METRICS, scores)]))
    for title, table in (("Kinds", _kinds(scores)), ("Where objects are", _places(scores))):
        if table is not None:
            found.append(Section(title, [table]))
    return found


def _images(worst: Sequence[Card], best: Sequence[Card]) -> list[Part]:
    if not (worst or best):
        return []
    alt = "Image with outlines of predicted and missed objects"
    parts: list[Part] = [
        Paragraph(
            "Green: predicted and right (IoU ≥ 0.5). Orange: predicted, but no labelled object is "
            "like it. Yellow: labelled, but missed."
        )
    ]
    for cards, said in ((worst, "The lowest AP"), (best, "The highest AP")):
        if cards:
            parts.append(Photographs(cards, alt, said))
    return parts


def _plots(scores: Scores) -> list[Part]:
    found: list[Part] = []
    curve = scores.get("ap_at_iou") or {}
    if curve.get("0.50") is not None:
        said = (
            "AP by the overlap from which an object counts as found. A curve that falls early "
            "means that objects are found, but outlined roughly."
        )
        alt = "AP at IoU " + ", ".join(f"{iou}: {number(ap)}" for iou, ap in curve.items())
        found.append(Figure(partial(ap_curve, curve), said, alt))
    counts = scores.get("counts") or {}
    if any(counts.get("labelled") or ()):
        said = "Predicted and labelled number of objects of each image; on the line they are equal."
        alt = f"Counting error {number(scores.get('counting_mae'))}"
        draw = partial(count_scatter, counts["labelled"], counts["predicted"])
        found.append(Figure(draw, said, alt))
    return found


def _kinds(scores: Scores) -> Table | None:
    kinds: Mapping[str, Any] = scores.get("by_kind") or {}
    if not kinds:
        return None
    rows = [
        [
            name,
            f"{one['objects']:,}",
            f"{one['predicted']:,}",
            number(one["ap_at_iou"]["0.50"]),
            share(one["precision"]),
            share(one["recall"]),
            number(one["counting_mae"]),
        ]
        for name, one in kinds.items()
    ]
    header = ["kind", "labelled", "predicted", "AP at IoU 0.5", "precision", "recall"]
    return Table([*header, "counting error"], rows, [1, 2, 3, 4, 5, 6])


def _places(scores: Scores) -> Table | None:
    if "inside" not in scores:
        return None
    parts = [("cut by the border", scores["at_border"]), ("whole", scores["inside"])]
    for band in scores["by_border_distance"]:
        parts.append((f"centre at {span(band)} from the border", band))
    rows = [
        [
            name,
            f"{one['count']:,}",
            number(one["ap"]),
            share(one["precision"]),
            share(one["recall"]),
        ]
        for name, one in parts
    ]
    return Table(
        ["objects", "labelled", "AP at IoU 0.5", "precision", "recall"],
        rows,
        [1, 2, 3, 4],
        SHARES,
    )


def ap_curve(curve: Mapping[str, float], theme: Theme = LIGHT) -> bytes:
    """AP over the overlap, as a PNG.

    Args:
        curve: AP by IoU.
        theme: colours.
    """
    figure, (axes,) = canvas(0.5 * WIDTH, theme)
    ious = [float(iou) for iou in curve]
    axes.plot(ious, list(curve.values()), marker="o", color=theme.first)
    for iou in ("0.50", "0.70"):
        if curve.get(iou) is not None:
            words = f"{curve[iou]:.2f}"
            axes.annotate(
                words,
                (float(iou), curve[iou]),
                (4, 6),
                textcoords="offset points",
                color=theme.ink,
            )
    axes.set_ylim(0, 1)
    axes.set_xlabel("IoU from which an object counts as found")
    axes.set_ylabel("AP")
    return png(figure)


def count_scatter(labelled: Sequence[int], predicted: Sequence[int], theme: Theme = LIGHT) -> bytes:
    """Predicted over labelled numbers of objects, an image each, as a PNG.

    Args:
        labelled: number of labelled objects of each image.
        predicted: number of predicted ones.
        theme: colours.
    """
    figure, (axes,) = canvas(0.7 * WIDTH, theme)
    most = max(1, *labelled, *predicted)
    axes.plot([0, most], [0, most], color=theme.muted, linewidth=1)
    axes.scatter(np.array(labelled), np.array(predicted), s=18, color=theme.first, alpha=0.6)
    axes.set_xlabel("labelled objects")
    axes.set_ylabel("predicted objects")
    for axis in (axes.xaxis, axes.yaxis):
        whole_ticks(axis)
    return png(figure)
