"""How well objects are found, in numbers and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from placewise.geometry import PIXEL_CONVENTION
from placewise.images import ImageArray
from placewise.labels import InstanceSample
from placewise.metrics import instance_table, overlap
from placewise.report.drawing import SIDE
from placewise.report.marks import Overlay
from placewise.report.objects import outlined
from placewise.report.style import RGB
from placewise.task import Scored
from placewise.tasks.instances.prediction import InstancePrediction
from placewise.tasks.instances.target import Labels, Truth

RIGHT: RGB = (80, 220, 130)
FALSE: RGB = (255, 127, 60)
MISSED: RGB = (240, 228, 66)
"""Outlines of objects that were found, of false ones, and of labelled ones that were missed."""


def score(
    held: Scored[InstanceSample, InstancePrediction], truths: Sequence[Truth]
) -> dict[str, Any]:
    """AP over IoU, PQ, counts, touching pairs, by kind and by place.

    Args:
        held: predictions and labels.
        truths: label map and kinds of each image.
    """
    pairs = [(truth, one.labels) for (truth, _), one in zip(truths, held.found, strict=True)]
    scores = instance_table(pairs)
    names = held.dataset.names
    if len(names) > 1:
        scores["by_kind"] = {
            name: instance_table(_of_kind(truths, held.found, kind))
            for kind, name in enumerate(names)
        }
    scores["counts"] = {
        "labelled": [len(kinds) for _, kinds in truths],
        "predicted": [len(one) for one in held.found],
    }
    chosen = getattr(held.model, "calibration", {})
    scores["thresholds"] = {name: chosen.get(name) for name in ("foreground", "centre")}
    scores["pixel_convention"] = PIXEL_CONVENTION
    return scores


def _of_kind(
    truths: Sequence[Truth], found: Sequence[InstancePrediction], kind: int
) -> list[tuple[Labels, Labels]]:
    """Label maps with the objects of one kind alone."""
    return [
        (_only(truth, kinds, kind), _only(one.labels, one.found.kinds, kind))
        for (truth, kinds), one in zip(truths, found, strict=True)
    ]


def _only(labels: Labels, kinds: Any, kind: int) -> Labels:
    there = np.concatenate([[True], np.asarray(kinds) == kind, [True]])  # the last one is −1
    return np.where(there[labels], labels, 0)


def drawn(
    pixels: ImageArray,
    found: Labels,
    truth: Labels,
    *,
    side: tuple[int, int] = SIDE,
    spacing: Sequence[float] | None = None,
) -> Overlay:
    """The image with outlines in three colours: found, false, missed.

    Args:
        pixels: the image.
        found: predicted label map.
        truth: the labelled one.
        side: least and most pixels of the longer side of the drawing.
        spacing: distance of the pixels along the axes, of a signal in seconds; None: not known.
    """
    pairs = overlap(truth, found)
    matched = pairs.matched()
    right = set(pairs.found_numbers[pairs.columns[matched]].tolist())
    hit = set(pairs.true_numbers[pairs.rows[matched]].tolist())
    colours = [RIGHT if n in right else FALSE for n in range(1, int(found.max(initial=0)) + 1)]
    missed = np.where(np.isin(truth, list(hit)), 0, truth)
    count = int(truth.max(initial=0))
    return outlined(
        pixels, [(missed, [MISSED] * count), (found, colours)], side=side, spacing=spacing
    )
