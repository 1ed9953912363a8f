"""Figures of classes: plain numbers in, bytes of a PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from placewise.report.canvas import WIDTH, canvas, png
from placewise.report.style import LIGHT, Theme
from placewise.wording import number, printable

NUMBERED = 16
"""Classes up to which the numbers are written into a confusion matrix."""

NAMED = 40
"""Classes up to which a confusion matrix names them."""


def confusion_map(counts: ArrayLike, names: Sequence[str], theme: Theme = LIGHT) -> bytes:
    """A confusion matrix: rows are what images show, columns what was answered.

    Colours are shares of each row, so that rare classes are seen as well as common ones.

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
        words = [_cut(name) for name in names]
        turned = 0 if max(map(len, words)) <= 2 else 45
        anchor = "center" if not turned else "right"
        axes.set_xticks(range(len(names)), words, rotation=turned, ha=anchor, fontsize=8)
        axes.set_yticks(range(len(names)), words, fontsize=8)
    axes.set_xlabel("answer")
    axes.set_ylabel("what the image shows")
    return png(figure)


def reliability_diagram(rows: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> bytes:
    """How often answers are right, by how sure they are; below, how many there are.

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
    above.bar(middles, right, width=width, color=theme.first, label="right answers")
    above.plot([0, 1], [0, 1], "--", color=theme.muted, linewidth=1, label="honest")
    above.plot(sure, right, "o", color=theme.second, markersize=4, label="mean probability")
    above.set_ylim(0, 1.02)
    above.set_ylabel("share of right answers")
    above.legend(loc="upper left", frameon=False, fontsize=8.5, labelcolor=theme.ink)
    counts = [row["images"] for row in known]
    below.bar(middles, counts, width=width, color=theme.muted)
    below.set_yscale("log")
    below.set_ylim(0.7, max(counts, default=1) * 2)
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    below.set_xlim(0, 1)
    below.set_xlabel("probability of the answer")
    below.set_ylabel("images")
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
    axes.set_yticks(places, [_cut(name) for name, _ in kept])
    axes.set_ylim(-0.7, len(kept) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("images")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
    )
    return png(figure)


def said_of_classes(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same in words.

    Example:
        >>> said_of_classes([{"class": "cat", "precision": 0.9, "recall": 0.8, "f1": 0.85}])
        'F₁ of each class: cat 0.85'
    """
    return "F₁ of each class: " + ", ".join(
        f"{row['class']} {number(row['f1'])}" for row in rows[:NAMED]
    )


def _cut(name: str) -> str:
    """A name that fits, with `$` kept from being read as mathematics."""
    words = printable(name)
    short = words if len(words) <= 16 else f"{words[:8]}…{words[-7:]}"
    return short.replace("$", r"\$")
