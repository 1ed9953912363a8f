"""What a report says of classes: its tiles, sections, figures and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from placewise.metrics import CLASS_METRICS, Metric, Scores
from placewise.report.canvas import WIDTH, canvas, legend_above, png, short, whole_ticks
from placewise.report.parts import Card, Figure, Paragraph, Part, Photographs, Section, Table
from placewise.report.run import LOSS_WORDS, SPLIT_WORDS, metric_table, metric_tiles
from placewise.report.style import LIGHT, Theme
from placewise.wording import number, share

NUMBERED = 16
"""Classes up to which the numbers are written into a confusion matrix."""

NAMED = 40
"""Classes up to which a confusion matrix names them."""

TILES = ("accuracy", "majority_baseline", "log_loss", "calibration_error")
"""Metrics that stand on top of the page."""

VALIDATION = Metric("val_log_loss", "validation log loss", "", "log loss on the validation images")
"""What training measures on the validation images."""

CLASS_WORDS = (
    SPLIT_WORDS,
    (
        "precision and recall",
        "Of a class: precision P is the share of correct predictions among the images that were "
        "predicted as this class; recall R is the share of the images of this class that were "
        "predicted correctly.",
    ),
    (
        "evidence",
        "Which places of the image the prediction comes from: features times the gradient of the "
        "class’s logit, summed over the channels. If the head is linear, the places add up to the "
        "logit.",
    ),
    LOSS_WORDS,
)
"""(word, meaning) for a reader who sees such a report for the first time."""


def class_tiles(scores: Scores) -> list[tuple[str, str]]:
    """The numbers that matter most.

    Example:
        >>> class_tiles({"accuracy": 0.975, "split": "test", "images": 200})
        [('accuracy', '97.5 %'), ('test images', '200')]
    """
    return metric_tiles(CLASS_METRICS, TILES, scores)


def class_sections(
    scores: Scores, *, worst: Sequence[Card] = (), best: Sequence[Card] = ()
) -> list[Section]:
    """What the report of a run shows of classes.

    Args:
        scores: what `metrics.json` holds.
        worst: wrong predictions, those first whose true class got the lowest probability.
        best: correct predictions, the surest of each class.

    Example:
        >>> [section.title for section in class_sections({"accuracy": 1.0})]
        ['Which classes are mistaken for which', 'Images', 'Scores']
    """
    return [
        Section("Which classes are mistaken for which", _plots(scores)),
        Section("Images", _images(worst, best), console=False),
        Section("Scores", [metric_table(CLASS_METRICS, scores)]),
    ]


def _plots(scores: Scores) -> list[Part]:
    found: list[Part] = []
    if scores.get("confusion"):
        rows = scores["by_class"]
        said = (
            "Each row is a true class, each column a predicted class; correct predictions are on "
            "the diagonal. The colour is the share of the row."
        )
        alt = "F₁ of each class: " + ", ".join(
            f"{row['class']} {number(row['f1'])}" for row in rows[:NAMED]
        )
        draw = partial(confusion_map, scores["confusion"], scores["classes"])
        found.append(Figure(draw, said, alt, by_class_table(scores)))
    if scores.get("reliability"):
        said = (
            "How often a prediction is correct, by its probability. Bars on the dashed line are "
            "well calibrated; below it the network is surer than it should be."
        )
        alt = f"Calibration error {share(scores.get('calibration_error'))}"
        found.append(Figure(partial(reliability_diagram, scores["reliability"]), said, alt))
    return found


def _images(worst: Sequence[Card], best: Sequence[Card]) -> list[Part]:
    if not (worst or best):
        return []
    alt = "Image, evidence for the predicted class, and the most probable classes"
    key = (
        "On the left is the image, on the right the evidence for the predicted class: orange "
        "supports it, blue contradicts it, and the strongest place has the strongest colour. Below "
        "are the most probable classes."
    )
    parts: list[Part] = [Paragraph(key)]
    if worst:
        said = "Wrong predictions, the least probable true class first"
        parts.append(Photographs(worst, alt, said))
    if best:
        parts.append(Photographs(best, alt, "Correct predictions, the surest of each class"))
    return parts


def by_class_table(scores: Scores) -> Table:
    """Precision, recall and the most common mistake of each class.

    Args:
        scores: what `metrics.json` holds.

    Example:
        >>> row = {"class": "cat", "images": 4, "precision": 1.0, "recall": 0.75, "f1": 0.86}
        >>> scores = {"by_class": [row], "classes": ["cat", "dog"], "confusion": [[3, 1], [0, 0]]}
        >>> by_class_table(scores).rows
        [['cat', '4', '100 %', '75 %', '0.86', 'dog (1)']]
    """
    counts, names = scores["confusion"], scores["classes"]
    rows = []
    for k, row in enumerate(scores["by_class"]):
        others = [(counts[k][j], name) for j, name in enumerate(names) if j != k]
        most = max(others, default=(0, ""))
        taken = f"{most[1]} ({most[0]:,})" if most[0] else "–"
        shares = [share(row[key]) for key in ("precision", "recall")]
        rows.append([row["class"], f"{row['images']:,}", *shares, number(row["f1"]), taken])
    header = ("class", "images", "precision", "recall", "F₁", "most often mistaken for")
    return Table(header, rows, range(1, 5), folded="Show the numbers")


def confusion_map(counts: ArrayLike, names: Sequence[str], theme: Theme = LIGHT) -> bytes:
    """A confusion matrix: a row for each true class, a column for each predicted class.

    Colours are shares of each row, so that rare classes are as visible as common ones.

    Args:
        counts: (K, K) images.
        names: the classes' names.
        theme: colours.

    Example:
        >>> confusion_map([[3, 1], [0, 4]], ["cat", "dog"])[1:4]
        b'PNG'
    """
    from matplotlib.colors import LinearSegmentedColormap

    found = np.asarray(counts, dtype=np.float64)
    shares = found / np.maximum(found.sum(1, keepdims=True), 1)
    figure, (axes,) = canvas(WIDTH * 0.92, theme)
    colours = LinearSegmentedColormap.from_list("share", [theme.paper, theme.first])
    axes.grid(visible=False)
    axes.imshow(shares, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    if len(names) <= NUMBERED:
        for (row, column), count in np.ndenumerate(found):
            if count:
                ink = theme.paper if shares[row, column] > 0.55 else theme.ink
                size = 8 if len(names) <= 10 else 6
                text = f"{int(count):,}"
                axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
    if len(names) <= NAMED:
        words = [short(name, 16) for name in names]
        turned = 0 if max(map(len, words)) <= 2 else 45
        anchor = "center" if not turned else "right"
        axes.set_xticks(range(len(names)), words, rotation=turned, ha=anchor, fontsize=8)
        axes.set_yticks(range(len(names)), words, fontsize=8)
    for line in range(1, len(names)):
        for draw in (axes.axhline, axes.axvline):
            draw(line - 0.5, color=theme.line, linewidth=0.5)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return png(figure)


def reliability_diagram(rows: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> bytes:
    """How often predictions are correct, by their probability; below, how many there are.

    Args:
        rows: `reliability` of `metrics.json`.
        theme: colours.

    Example:
        >>> reliability_diagram([{"from": 0.0, "to": 1.0, "images": 2, "confidence": 0.8,
        ...     "accuracy": 0.5}])[1:4]
        b'PNG'
    """
    figure, (above, below) = canvas(4.6, theme, panels=2)
    known = [row for row in rows if row["images"]]
    middles = np.array([(row["from"] + row["to"]) / 2 for row in known])
    width = 0.9 * (rows[0]["to"] - rows[0]["from"]) if rows else 1.0
    right = np.array([row["accuracy"] for row in known])
    sure = np.array([row["confidence"] for row in known])
    above.bar(middles, right, width=width, color=theme.first, label="correct predictions")
    above.plot([0, 1], [0, 1], "--", color=theme.muted, linewidth=1, label="well calibrated")
    above.plot(sure, right, "o", color=theme.second, markersize=4, label="mean probability")
    above.set_ylim(0, 1.02)
    above.set_ylabel("share of correct predictions")
    above.legend(loc="upper left", frameon=False, fontsize=8.5, labelcolor=theme.ink)
    counts = [row["images"] for row in known]
    below.bar(middles, counts, width=width, color=theme.muted)
    if max(counts, default=1) > 50 * min(counts, default=1):
        below.set_yscale("log")
        below.set_ylim(bottom=0.7)
    else:
        whole_ticks(below.yaxis)
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    below.set_xlim(0, 1)
    below.set_xlabel("probability of the prediction")
    below.set_ylabel("number")
    return png(figure)


def class_counts(rows: Sequence[tuple[str, Mapping[str, int]]], theme: Theme = LIGHT) -> bytes:
    """Images of each class, by split; of more than 40 classes the rarest.

    Args:
        rows: (name of the class, images of each split).
        theme: colours.

    Example:
        >>> class_counts([("cat", {"train": 3, "test": 1}), ("dog", {"train": 2})])[1:4]
        b'PNG'
    """
    rarest = sorted(rows, key=lambda row: -sum(row[1].values()))[-NAMED:]
    kept = [row for row in rows if row in rarest][::-1]
    figure, (axes,) = canvas(1.35 + 0.26 * max(3, len(kept)), theme)
    places, before = np.arange(len(kept)), np.zeros(len(kept))
    splits = list(dict.fromkeys(split for _, counts in kept for split in counts))
    for split, colour in zip(splits, (theme.first, theme.third, theme.second), strict=False):
        values = np.array([counts.get(split, 0) for _, counts in kept], dtype=np.float64)
        axes.barh(places, values, left=before, height=0.75, color=colour, label=split)
        before += values
    axes.set_yticks(places, [short(name, 16) for name, _ in kept])
    axes.set_ylim(-0.7, len(kept) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("number")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if splits:
        legend_above(axes, theme)
    return png(figure)
