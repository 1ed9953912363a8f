"""Differences between arms over the same seeds and test items, and their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.metrics import Metric
from placewise.report.verdicts import quoted
from placewise.statistics import (
    FEWEST,
    Interval,
    chances,
    holm,
    mcnemar,
    paired_difference,
    two_way_interval,
)

SURE = 0.95
"""Arms are called practically equal from this probability on."""


def held_against(
    items: Mapping[str, NDArray[np.float64]], reference: str, metric: Metric, *, rope: float
) -> list[dict[str, Any]]:
    """Compare each arm with the reference; a positive difference is always better.

    Args:
        items: (seeds, test items) values of the metric for each arm.
        reference: name of the arm that the others are compared with.
        metric: what the values are, and which direction is better.
        rope: half the width of the region of practical equality, in the metric's stored unit.

    Returns:
        For each other arm, as plain JSON: difference, its deviation over the seeds, t, bootstrap
        and two-way interval (None for fewer than 8 seeds or items), p and p after Holm over these
        arms, probabilities of better, equal and worse, McNemar's p of each seed, seeds won, and
        the verdict, one of "better", "worse", "equal" and "open".

    Example:
        >>> from placewise.metrics import ACCURACY
        >>> right = {"a": np.zeros((3, 9)), "b": np.ones((3, 9))}
        >>> (one,) = held_against(right, "a", ACCURACY, rope=0.002)
        >>> one["arm"], one["difference"], one["verdict"]
        ('b', 1.0, 'better')
    """
    names = [name for name in items if name != reference]
    means = {name: table.mean(1) for name, table in items.items()}
    gains = {name: metric.gain(means[name], means[reference]) for name in names}
    pairs = {name: paired_difference(gains[name], np.zeros(len(gains[name]))) for name in names}
    adjusted = dict(zip(names, holm([pairs[name].p for name in names]), strict=True))
    right_or_wrong = metric.unit == "%" and all(np.isin(v, (0, 1)).all() for v in items.values())
    found = []
    for name in names:
        pair = pairs[name]
        table = metric.gain(items[name], items[reference])
        both = two_way_interval(table) if min(table.shape) >= FEWEST else None
        tests = None
        if right_or_wrong:
            tests = [mcnemar(*rows) for rows in zip(items[name], items[reference], strict=True)]
        one = {
            "arm": name,
            "reference": reference,
            "difference": pair.mean,
            "deviation": pair.deviation,
            "t_interval": [pair.student.low, pair.student.high],
            "bootstrap_interval": _ends(pair.bootstrap),
            "two_way_interval": _ends(both),
            "p": pair.p,
            "p_holm": adjusted[name],
            **asdict(chances(gains[name], rope)),
            "mcnemar_p": tests,
            "seeds_won": int((gains[name] > 0).sum()),
        }
        found.append({**one, "verdict": verdict(one)})
    return found


def verdict(one: Mapping[str, Any]) -> str:
    """One of better, worse, equal and open.

    Better and worse need an adjusted p below 0.05 and a two-way interval without 0: they must hold
    for other seeds and for other test items.
    """
    low, high = quoted(one)
    if one["p_holm"] < 0.05 and not low <= 0 <= high:
        if one["equal"] >= SURE:
            return "equal"
        return "better" if one["difference"] > 0 else "worse"
    return "equal" if one["equal"] >= SURE else "open"


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
