"""Differences of arms over the same seeds and the same test items, and what may be said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.comparison._plan import Measure
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
"""Probability from which on arms are called practically equal."""


def held_against(
    items: Mapping[str, NDArray[np.float64]], reference: str, *, measure: Measure, rope: float
) -> list[dict[str, Any]]:
    """Each arm against the reference; a positive difference is better, whatever the measure.

    Args:
        items: (seeds, test items) measure of each arm.
        reference: name of the arm that the others are held against.
        measure: "accuracy", of which more is better, or "mean_error_px", of which less is.
        rope: half the width of the region of practical equivalence, in units of the measure.

    Returns:
        For each other arm, as plain JSON: difference, its deviation over the seeds, t, bootstrap
        and two-way interval (None for fewer than 8 seeds or items), p and p after Holm over these
        arms, probabilities of better, equal and worse, McNemar's p of each seed, seeds won, and
        the verdict, one of "better", "worse", "equal" and "open".

    Example:
        >>> right = {"a": np.zeros((3, 9)), "b": np.ones((3, 9))}
        >>> (one,) = held_against(right, "a", measure="accuracy", rope=0.002)
        >>> one["arm"], one["difference"], one["verdict"]
        ('b', 1.0, 'better')
    """
    sign = 1.0 if measure == "accuracy" else -1.0
    names = [name for name in items if name != reference]
    values = {name: sign * table.mean(1) for name, table in items.items()}
    pairs = {name: paired_difference(values[name], values[reference]) for name in names}
    adjusted = dict(zip(names, holm([pairs[name].p for name in names]), strict=True))
    found = []
    for name in names:
        pair = pairs[name]
        table = sign * (items[name] - items[reference])
        both = two_way_interval(table) if min(table.shape) >= FEWEST else None
        tests = None
        if measure == "accuracy":
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
            **asdict(chances(values[name] - values[reference], rope)),
            "mcnemar_p": tests,
            "seeds_won": int((values[name] > values[reference]).sum()),
        }
        found.append({**one, "verdict": verdict(one)})
    return found


def verdict(one: Mapping[str, Any]) -> str:
    """One of better, worse, equal and open.

    Better or worse takes an adjusted p below 0.05 and a two-way interval without 0: it has to hold
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
