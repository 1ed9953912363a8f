"""Thresholds of foreground and centres, chosen by AP on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.metrics import overlap
from placewise.tasks.instances.evidence import Grouped, Limits
from placewise.tasks.instances.prediction import InstancePrediction

FOREGROUNDS = (0.3, 0.4, 0.5, 0.6, 0.7)
CENTRES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
FEW = (0.15, 0.25)
"""Scores of centres that are tried at each validation."""

USUAL = Limits()

AT = (0.5, 0.7)
"""Overlaps at which objects are counted: found at all, and outlined well."""


def best_limits(
    found: Sequence[InstancePrediction], truths: Sequence[NDArray[Any]]
) -> tuple[Limits, float | None]:
    """The thresholds whose AP, mean of those at `AT`, is the largest; and their AP at 0.5.

    Of equally good ones those nearest to the usual ones are taken. First that of centres is
    chosen, with the usual one of the foreground, then that of the foreground.

    Args:
        found: predictions of a model that is not calibrated.
        truths: (*size) label map of each image.
    """
    first, _ = _best(found, truths, [Limits(centre=centre) for centre in CENTRES])
    return _best(found, truths, [first._replace(foreground=one) for one in FOREGROUNDS])


def usual_limits(
    found: Sequence[InstancePrediction], truths: Sequence[NDArray[Any]]
) -> tuple[Limits, float | None]:
    """The same of a few thresholds of centres alone, which is quick."""
    return _best(found, truths, [Limits(centre=centre) for centre in FEW])


def _best(
    found: Sequence[InstancePrediction], truths: Sequence[NDArray[Any]], tried: Sequence[Limits]
) -> tuple[Limits, float | None]:
    counts = np.zeros((len(tried), len(AT) + 1))
    for one, truth in zip(found, truths, strict=True):
        held: Grouped | None = None
        for row, limits in enumerate(tried):
            labels = one.labels
            if one.evidence is not None:
                if held is None or held.limits.centre != limits.centre:
                    held = Grouped(one.evidence, limits)
                labels = held.found(limits.foreground).labels
            pairs = overlap(truth, labels)
            counts[row] += *(len(pairs.matched(least)) for least in AT), sum(pairs.counts)
    hits, total = counts[:, :-1], counts[:, -1:]
    if not total.any():
        return Limits(), None
    shares = hits / (total - hits).clip(1)
    usual = [np.abs(np.subtract(one, USUAL)).sum() for one in tried]
    row = int(np.lexsort((usual, -shares.mean(-1)))[0])
    return tried[row], float(shares[row, 0])
