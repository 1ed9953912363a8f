"""Thresholds of foreground and centres, chosen by AP on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from placewise.metrics import overlap
from placewise.tasks.instances.evidence import Grouped
from placewise.tasks.instances.model import CENTRE, FOREGROUND
from placewise.tasks.instances.prediction import InstancePrediction

FOREGROUNDS = (0.3, 0.4, 0.5, 0.6, 0.7)
CENTRES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)
FEW = (0.2, 0.3, 0.45)
"""Scores of centres that are tried at each validation."""

AT = (0.5, 0.7)
"""Overlaps at which objects are counted: found at all, and outlined well."""


class Limits(NamedTuple):
    """Thresholds.

    Attributes:
        foreground: probability above which a pixel is foreground.
        centre: score from which on a centre counts.
    """

    foreground: float = FOREGROUND
    centre: float = CENTRE


def best_limits(
    found: Sequence[InstancePrediction], truths: Sequence[NDArray[Any]]
) -> tuple[Limits, float | None]:
    """The thresholds whose AP, mean of those at `AT`, is the largest; and their AP at 0.5.

    Args:
        found: predictions of a model that is not calibrated.
        truths: (*size) label map of each image.
    """
    return _best(found, truths, FOREGROUNDS, CENTRES)


def usual_limits(
    found: Sequence[InstancePrediction], truths: Sequence[NDArray[Any]]
) -> tuple[Limits, float | None]:
    """The same of a few thresholds of centres alone, which is quick."""
    return _best(found, truths, (FOREGROUND,), FEW)


def _best(
    found: Sequence[InstancePrediction],
    truths: Sequence[NDArray[Any]],
    foregrounds: Sequence[float],
    centres: Sequence[float],
) -> tuple[Limits, float | None]:
    counts = np.zeros((len(centres), len(foregrounds), len(AT) + 1))
    for one, truth in zip(found, truths, strict=True):
        for row, centre in enumerate(centres):
            grouped = None if one.evidence is None else Grouped(one.evidence, centre)
            for column, foreground in enumerate(foregrounds):
                labels = one.labels if grouped is None else grouped.found(foreground).labels
                pairs = overlap(truth, labels)
                matches = [len(pairs.matched(least)) for least in AT]
                counts[row, column] += *matches, sum(pairs.counts)
    total = counts[..., -1]
    if not total.any():
        return Limits(), None
    hits = counts[..., :-1]
    shares = hits / (total[..., None] - hits).clip(1)
    row, column = np.unravel_index(shares.mean(-1).argmax(), total.shape)
    return Limits(foregrounds[column], centres[row]), float(shares[row, column, 0])
