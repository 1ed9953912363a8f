"""What a report says of spots: its tiles, sections, figures and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from placewise.geometry import FloatArray
from placewise.labels import KeypointSample
from placewise.metrics import SPOT_METRICS, Scores
from placewise.report.canvas import SHARES, border_bars, canvas, legend_above, png, say, short
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
from placewise.report.style import LIGHT, Theme, mark
from placewise.task import Scored
from placewise.tasks.spots.drawing import KEY
from placewise.tasks.spots.prediction import SpotPrediction
from placewise.wording import number, share, span

TILES = ("f1", "precision", "recall", "counting_mae", "tolerance_px")
"""Metrics on top of the page."""

DRAWN = 7
"""Kinds on a figure: those with the most labels."""

SPOT_WORDS = (
    (
        "spot, kind",
        "A spot is one of many similar things on an image, such as a cell. Each belongs to a kind, "
        "such as 'white cell'.",
    ),
    (
        "tolerance",
        "A found spot is right where a labelled spot of its kind lies within this distance. Each "
        "labelled spot is paired with one found spot at most: as many pairs as possible are made, "
        "and of these the closest ones.",
    ),
    (
        "precision, recall, F1",
        "Precision is the share of found spots that are right, recall the share of labelled spots "
        "that are found, and F1 = 2 · precision · recall / (precision + recall). All images are "
        "counted together.",
    ),
    (
        "average precision (AP)",
        "One number for all thresholds: the mean precision over all recalls from 0 to 100 %.",
    ),
    (
        "threshold",
        "Spots with a lower score are left out. It was chosen for each kind on the validation "
        "images, where it gives the largest F1.",
    ),
    (
        "counting error",
        "By how many the number of found spots differs from the number of labelled spots of an "
        "image, averaged over the images. A bias above 0 says that too many are found.",
    ),
    (
        "distance from the border",
        "Networks often see worse near the border of an image. The distance is given as a share "
        "of half the shorter side: 0 % is the border, 100 % is as far from it as possible.",
    ),
    SPLIT_WORDS,
    LOSS_WORDS,
)
"""(word, meaning) for a reader who sees such a report for the first time."""

Kinds = Mapping[str, Mapping[str, Any]]


def spot_tiles(scores: Scores) -> list[tuple[str, str]]:
    """The numbers that matter most.

    Example:
        >>> spot_tiles({"f1": 0.5, "images": 9, "split": "test"})
        [('F1', '50 %'), ('test images', '9')]
    """
    return metric_tiles(SPOT_METRICS, TILES, scores)


def spot_sections(
    scores: Scores,
    held: Scored[KeypointSample, SpotPrediction] | None = None,
    best: Sequence[Card] = (),
    worst: Sequence[Card] = (),
) -> list[Section]:
    """What the report of a run shows of spots.

    Args:
        scores: what `metrics.json` holds.
        held: what was scored; None for the console.
        best: images with the largest F1.
        worst: images with the smallest F1, the smallest first.
    """
    kinds: Kinds = scores["by_keypoint"]
    figures: list[Part] = [
        Figure(
            partial(f1_curves, kinds, scores["tolerance_px"], scores.get("unit", "px")),
            "F1 by distance: how it changes when a found spot must be closer to the labelled one, "
            "or may be farther away. The dashed line is the tolerance.",
            f"F1 of {len(kinds)} kinds over the distance that is allowed",
        ),
        Figure(
            partial(counts_figure, kinds, held),
            "Found against labelled spots of each image. On the line both are equal.",
            "Number of found spots over the number of labelled spots, a mark for each image",
        ),
        Figure(
            partial(f1_by_border, scores["by_border_distance"], scores.get("unit", "px")),
            "F1 by distance from the border: the first bar is at the border, the last in the "
            "middle. If the first bar is much lower, the network sees worse at the border.",
            "F1 of all spots by distance from the border",
            border_table(scores["by_border_distance"]),
        ),
    ]
    plots = figures if held else [figures[2]]
    return [
        Section("Kinds of spots", [kinds_table(kinds, scores["tolerance_px"])]),
        Section("Where spots are missed", [*plots, *_near_ends(scores)]),
        Section("Images", _images(list(kinds), best, worst), console=False),
        Section("Scores", [metric_table(SPOT_METRICS, scores)]),
    ]


def _near_ends(scores: Scores) -> list[Part]:
    """What is found near the ends of recordings, in words; nothing of images and volumes.

    Example:
        >>> near = {"seconds": 0.3, "labelled": 4, "found": 3, "missed": 1, "with_neighbour": 4,
        ...         "neighbour_found": 4, "lost": 1}
        >>> _near_ends({"near_ends": near})[0].text()
        'Within 0.3 s of the ends of the recordings, 3 of 4 labelled spots are found. Of the nearest
        spots farther in, 4 of 4 are found. 1 spot near an end is missed although the nearest spot
        farther in is found: the end is the likely cause.'
    """
    near = scores.get("near_ends")
    if not near:
        return []
    where = f"Within {near['seconds']:g} s of the ends of the recordings"
    if not near["labelled"]:
        return [Paragraph(f"{where}, no spot is labelled.")]
    lost = near["lost"]
    ended = (
        f"{lost:,} {'spot' if lost == 1 else 'spots'} near an end {'is' if lost == 1 else 'are'} "
        "missed although the nearest spot farther in is found: the end is the likely cause."
        if lost
        else "No spot near an end is missed while the nearest spot farther in is found."
    )
    return [
        Paragraph(
            f"{where}, {near['found']:,} of {near['labelled']:,} labelled spots are found. Of the "
            f"nearest spots farther in, {near['neighbour_found']:,} of {near['with_neighbour']:,} "
            f"are found. {ended}"
        )
    ]


def _images(names: Sequence[str], best: Sequence[Card], worst: Sequence[Card]) -> list[Part]:
    if not (worst or best):
        return []
    alt = "Image with found and labelled spots"
    parts: list[Part] = [Paragraph(KEY), Legend(names)]
    parts += [Photographs(worst, alt, "Lowest F1")] if worst else []
    parts += [Photographs(best, alt, "Highest F1")] if best else []
    return parts


def kinds_table(kinds: Kinds, tolerance: float) -> Table:
    """Scores of each kind.

    Args:
        kinds: `by_keypoint` of `metrics.json`.
        tolerance: in pixels.
    """
    shares = ("f1", "precision", "recall", "ap")
    rows = [
        [
            name,
            f"{one['labelled']:,}",
            f"{one['found']:,}",
            *(share(one[key]) for key in shares),
            number(one["mean_error_px"]),
            number(one["counting_mae"]),
            number(one["counting_bias"]),
            number(one["threshold"]),
        ]
        for name, one in kinds.items()
    ]
    header = ["kind", "labelled", "found", "F1", "precision", "recall", "AP", "mean px"]
    header += ["counting error", "bias", "threshold"]
    said = f"A found spot is right within {number(tolerance)} px of a labelled one of its kind."
    return Table(header, rows, range(1, len(header)), said)


def border_table(bands: Sequence[Mapping[str, Any]]) -> Table:
    """Scores by distance from the border.

    Args:
        bands: `by_border_distance` of `metrics.json`.
    """
    rows = [
        [
            span(one),
            f"{one['count']:,}",
            *(share(one[key]) for key in ("f1", "precision", "recall")),
            number(one["mean_error_px"]),
            number(one["counting_bias"]),
        ]
        for one in bands
    ]
    header = ["from the border", "labelled", "F1", "precision", "recall", "mean px", "bias"]
    return Table(header, rows, range(1, 7), SHARES, folded="Show the numbers")


def f1_curves(kinds: Kinds, tolerance: float, unit: str = "px", theme: Theme = LIGHT) -> bytes:
    """F1 of each kind over the distance that is allowed.

    Args:
        kinds: `by_keypoint` of `metrics.json`.
        tolerance: in pixels.
        unit: what the pixels are called.
        theme: colours.

    Returns:
        Bytes of a PNG.
    """
    figure, (axes,) = canvas(3.4, theme)
    for number_, name in _drawn(kinds):
        curve = kinds[name]["curve"]
        values = np.array([np.nan if one is None else one for one in curve["f1"]], float)
        axes.plot(
            curve["distance_px"],
            100 * values,
            color=_colour(number_),
            linewidth=2,
            label=short(name),
        )
    if not axes.lines:
        say(axes, "no labelled spot", theme)
        return png(figure)
    axes.axvline(tolerance, color=theme.muted, linestyle="--", linewidth=1)
    axes.set_ylim(0, 104)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"distance that is allowed ({unit})")
    axes.set_ylabel("F1 (%)")
    legend_above(axes, theme)
    return png(figure)


def counts_figure(
    kinds: Kinds,
    held: Scored[KeypointSample, SpotPrediction] | None,
    theme: Theme = LIGHT,
) -> bytes:
    """Found over labelled spots, a mark for each image and kind.

    Args:
        kinds: `by_keypoint` of `metrics.json`.
        held: what was scored.
        theme: colours.
    """
    figure, (axes,) = canvas(3.6, theme)
    most = 0.0
    for number_, name in _drawn(kinds):
        labelled, found = _counts(held, name)
        if not len(labelled):
            continue
        most = max(most, float(labelled.max()), float(found.max()))
        spread = np.random.default_rng(0).uniform(-0.18, 0.18, (2, len(labelled)))
        axes.plot(
            labelled + spread[0],
            found + spread[1],
            "o",
            color=_colour(number_),
            alpha=0.6,
            markersize=4,
            label=short(name),
        )
    if not most:
        say(axes, "no labelled spot", theme)
        return png(figure)
    axes.plot([0, most], [0, most], color=theme.muted, linewidth=1)
    axes.set_xlabel("labelled spots")
    axes.set_ylabel("found spots")
    legend_above(axes, theme)
    return png(figure)


def _counts(
    held: Scored[KeypointSample, SpotPrediction] | None, name: str
) -> tuple[FloatArray, FloatArray]:
    """(labelled, found) spots of a kind on each image on which it is labelled."""
    pairs = []
    if held is not None:
        kind = held.dataset.names.index(name)
        for sample, one in zip(held.samples, held.found, strict=True):
            if (sample.visibility[:, kind] > 0).any():
                pairs.append((sample.located[:, kind].sum(), one.counts[name]))
    found = np.array(pairs, float).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def f1_by_border(
    bands: Sequence[Mapping[str, Any]], unit: str = "px", theme: Theme = LIGHT
) -> bytes:
    """F1 by distance from the border, with the number of labels on each bar.

    Args:
        bands: `by_border_distance` of `metrics.json`.
        unit: what the pixels are called.
        theme: colours.
    """
    values = np.array([np.nan if one["f1"] is None else 100 * one["f1"] for one in bands])
    return png(border_bars(values, bands, "F1 (%)", "no labelled spot", theme, top=112, unit=unit))


def _drawn(kinds: Kinds) -> list[tuple[int, str]]:
    """(number, name) of the kinds on a figure, in their order."""
    names = list(kinds)
    most = sorted(names, key=lambda name: -kinds[name]["labelled"])[:DRAWN]
    return [(i, name) for i, name in enumerate(names) if name in most and kinds[name]["labelled"]]


def _colour(index: int) -> str:
    red, green, blue = mark(index)[0]
    return f"#{red:02x}{green:02x}{blue:02x}"
