"""What a report says of several objects: its tiles, sections, figures and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.metrics import (
    OKS_THRESHOLDS,
    POSE_METRICS,
    PoseImage,
    Scores,
    assigned,
    oks_matrix,
)
from placewise.report.canvas import SHARES, canvas, png, say, short
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
from placewise.wording import number, share, span

SHOWN = 40
"""Keypoints on the figure by keypoint: those that are wrong most often."""

TILES = ("pck", "oks_map", "wrong_animal_rate", "tracks/identity_switches")
"""Metrics that stand on top of the page."""

POSE_WORDS = (
    (
        "animal",
        "Whatever has keypoints and may be on an image several times: an animal, a person, or any "
        "other object.",
    ),
    (
        "keypoint",
        "A named position of each animal, such as the tip of a tail. People label it on each "
        "animal, and the network predicts it.",
    ),
    (
        "keypoints right",
        "Each predicted animal is held against one labelled animal at most, so that they are as "
        "similar as possible in all. A labelled keypoint is right if its animal's prediction has "
        "it within 5 % of the animal's length; a keypoint that is missing there is not.",
    ),
    (
        "OKS",
        "Object keypoint similarity of COCO: the mean over the labelled keypoints of "
        "exp(−d² / (2 · area · (2σ)²)), with d the distance in pixels and σ = 0.05 for every "
        "keypoint. Where labels have no area, that of the box about the labelled keypoints is "
        "taken.",
    ),
    (
        "OKS-mAP",
        "Average precision of COCO: predictions sorted by score, right where their OKS reaches a "
        "threshold, averaged over the thresholds 0.50, 0.55, … 0.95. As COCO has it, each "
        "prediction has a place for every keypoint there, also for those that are too unsure to "
        "be told.",
    ),
    (
        "in the wrong animal",
        "A predicted keypoint that lies at the same keypoint of another animal (within 5 % of "
        "that animal's length), and not at that of its own.",
    ),
    (
        "peak and inferred",
        "A keypoint is a peak where its map is hot near the place that the animal's centre "
        "suggests. Without a peak its place is inferred from the centre; it is kept only where "
        "its score is high enough, and missing otherwise.",
    ),
    (
        "identity switch",
        "On successive images, an animal that was found before gets another identity.",
    ),
    SPLIT_WORDS,
    LOSS_WORDS,
)
"""(word, meaning) for a reader who sees such a report for the first time."""


def pose_tiles(scores: Scores) -> list[tuple[str, str]]:
    """The numbers that matter most.

    Example:
        >>> pose_tiles({"pck": 0.975, "split": "test", "images": 23})
        [('keypoints right', '97.5 %'), ('test images', '23')]
    """
    return metric_tiles(POSE_METRICS, TILES, scores)


def pose_sections(
    scores: Scores,
    *,
    images: Sequence[PoseImage] | None = None,
    worst: Sequence[Card] = (),
    best: Sequence[Card] = (),
) -> list[Section]:
    """What the report of a run shows of several objects.

    Args:
        scores: what `metrics.json` holds.
        images: labels and predictions; None where they are not known.
        worst: images with the fewest right keypoints.
        best: images with the most.

    Example:
        >>> [section.title for section in pose_sections({"pck": 1.0})]
        ['Which keypoints are right', 'Images', 'Scores']
    """
    told = (
        f"Lengths of animals are the {scores['pck_length']}; areas for OKS are the "
        f"{scores['oks_area']}; σ is {scores['oks_sigma']:g}."
        if "pck_length" in scores
        else ""
    )
    return [
        Section("Which keypoints are right", _plots(scores, images)),
        Section(
            "Images", _images(list(scores.get("by_keypoint") or ()), worst, best), console=False
        ),
        Section("Scores", [metric_table(POSE_METRICS, scores, told)]),
    ]


def _plots(scores: Scores, images: Sequence[PoseImage] | None) -> list[Part]:
    found: list[Part] = []
    if images:
        said = (
            "Share of the labelled animals whose prediction reaches each OKS. The further up and "
            "right the curve, the better; the dashed lines are the thresholds of OKS-mAP."
        )
        alt = f"OKS-mAP {number(scores.get('oks_map'))}"
        found.append(Figure(partial(oks_curve, best_oks(images)), said, alt))
    if scores.get("by_keypoint"):
        said = "Share of the labels of each keypoint that are right; the shortest bars first."
        alt = "Keypoints right: " + ", ".join(
            f"{name} {share(row['pck'])}" for name, row in list(scores["by_keypoint"].items())[:40]
        )
        table = by_keypoint_table(scores["by_keypoint"])
        found.append(Figure(partial(right_by_keypoint, scores["by_keypoint"]), said, alt, table))
    if scores.get("by_border_distance"):
        found.append(_border_table(scores["by_border_distance"]))
    return found


def _border_table(bands: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            span(band),
            f"{band['count']:,}",
            share(band["pck"]),
        ]
        for band in bands
    ]
    header = ["from the border", "labels", "right"]
    return Table(header, rows, [1, 2], SHARES, title="By distance from the border")


def _images(names: Sequence[str], worst: Sequence[Card], best: Sequence[Card]) -> list[Part]:
    if not (worst or best):
        return []
    alt = "Image with predicted animals and labelled keypoints"
    key = (
        "Each predicted animal has its colour and its number. A filled mark is a keypoint with a "
        "peak on its map, a hollow one is inferred from the animal's centre; its shape says which "
        "keypoint it is (of more than six keypoints in turn). White crosses are labelled positions."
    )
    parts: list[Part] = [Paragraph(key), Legend(names, by_shape=True)]
    parts += [Photographs(worst, alt, "Fewest keypoints right")] if worst else []
    parts += [Photographs(best, alt, "Most keypoints right")] if best else []
    return parts


def by_keypoint_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Right keypoints, error and keypoints in the wrong animal, keypoint by keypoint.

    Args:
        rows: `by_keypoint` of `metrics.json`.

    Example:
        >>> row = {"labelled": 9, "pck": 1.0, "median_error_px": 1.25, "wrong_animal_rate": 0.0}
        >>> by_keypoint_table({"head": row}).rows
        [['head', '9', '100 %', '1.25', '0 %']]
    """
    cells = [
        [
            name,
            f"{row['labelled']:,}",
            share(row["pck"]),
            number(row["median_error_px"]),
            share(row["wrong_animal_rate"]),
        ]
        for name, row in rows.items()
    ]
    header = ["keypoint", "labels", "right", "median error px", "in the wrong animal"]
    return Table(header, cells, range(1, 5), folded="Show the numbers")


def best_oks(images: Sequence[PoseImage]) -> FloatArray:
    """(objects,) OKS of each labelled object with its own prediction, 0 without one."""
    found: list[FloatArray] = []
    for one in images:
        alike = oks_matrix(one.found, one.truth, one.areas)
        own = assigned(alike)
        mine: NDArray[np.bool_] = own[:, None] == np.arange(len(one.truth))
        found.append(np.where(mine, alike, 0).max(0, initial=0))
    return np.concatenate([np.empty(0), *found])


def oks_curve(values: FloatArray, theme: Theme = LIGHT) -> bytes:
    """Share of objects whose OKS is at least so high.

    Args:
        values: (objects,) OKS.
        theme: colours.

    Example:
        >>> oks_curve(np.array([0.5, 0.9]))[1:4]
        b'PNG'
    """
    figure, (axes,) = canvas(3.2, theme)
    if not len(values):
        say(axes, "no labelled animal", theme)
        return png(figure)
    steps = np.linspace(0, 1, 201)
    reached = [100 * float((values >= step).mean()) for step in steps]
    axes.plot(steps, reached, color=theme.first, linewidth=1.8)
    for threshold in OKS_THRESHOLDS:
        axes.axvline(threshold, color=theme.line, linewidth=0.8, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 104)
    axes.set_xlabel("OKS")
    axes.set_ylabel("animals with that OKS or more (%)")
    return png(figure)


def right_by_keypoint(rows: Mapping[str, Mapping[str, Any]], theme: Theme = LIGHT) -> bytes:
    """Share of right labels of each keypoint, as bars.

    Args:
        rows: `by_keypoint` of `metrics.json`.
        theme: colours.

    Example:
        >>> right_by_keypoint({"head": {"pck": 0.5}})[1:4]
        b'PNG'
    """
    known = [(name, row["pck"]) for name, row in rows.items() if row["pck"] is not None]
    shown = sorted(known, key=lambda one: one[1])[:SHOWN]
    figure, (axes,) = canvas(1.0 + 0.24 * max(len(shown), 4), theme)
    if not shown:
        say(axes, "no labelled keypoint", theme)
        return png(figure)
    places = np.arange(len(shown))[::-1]
    axes.barh(places, [100 * value for _, value in shown], color=theme.first, height=0.72)
    axes.set_yticks(places, [short(name) for name, _ in shown])
    axes.set_xlim(0, 104)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("right (%)")
    return png(figure)
