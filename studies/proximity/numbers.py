"""What the page tells of a contest: tables, differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placewise.comparison import held_against
from placewise.metrics import ACCURACY
from placewise.report.verdicts import VERDICTS, quoted
from studies._findings import Measured
from studies.proximity.runs import Outcome

ROPE = 0.002
"""Differences of accuracy that do not matter in practice: 0.2 points."""

Outcomes = Mapping[str, Outcome]
Difference = Mapping[str, Any]
"""How an arm differs from the reference; see `held_against`."""


def against(found: Outcomes, reference: str) -> dict[str, Difference]:
    """How each arm of a contest differs from one of them."""
    items = {name: outcome.right for name, outcome in found.items()}
    every = held_against(items, reference, ACCURACY, rope=ROPE)
    return {one["arm"]: one for one in every}


def told(found: Outcomes, differences: Mapping[str, Difference]) -> dict[str, Any]:
    """Numbers and the table of a contest; the first arm is what the others are held against."""
    columns = ["arm", "parameters", "multiply-adds", "rate", "accuracy (%)"]
    columns += ["minus the first", "p (Holm)", "P(equal)", "verdict"]
    rows = [_row(name, outcome, differences.get(name)) for name, outcome in found.items()]
    return {
        "tested": next(iter(found.values())).right.shape[1],
        "by": {key(name): _arm(one, differences.get(name)) for name, one in found.items()},
        "table": {"header": columns, "rows": rows},
    }


def _arm(outcome: Outcome, one: Difference | None) -> dict[str, Any]:
    return {
        "right": hundredths(Measured.of(outcome.percent)),
        "by_seed": [round(value, 2) for value in outcome.percent],
        "rate": outcome.rate,
        "tried": {f"{rate:g}": round(value, 2) for rate, value in outcome.tried.items()},
        "minus_the_first": one,
        "first_minus": None if one is None else points(one, -1),
    }


def _row(name: str, outcome: Outcome, one: Difference | None) -> list[Any]:
    right = hundredths(Measured.of(outcome.percent))["said"]
    costs = [outcome.budget.parameters, outcome.budget.multiply_adds, f"{outcome.rate:g}"]
    if one is None:
        return [name, *costs, right, None, None, None, "–"]
    verdict = VERDICTS[one["verdict"]]
    told = [points(one), f"{one['p_holm']:.2g}", f"{one['equal']:.2f}", verdict]
    return [name, *costs, right, *told]


def key(name: str) -> str:
    """A name as a path of numbers takes it.

    Example:
        >>> key("local, permuted")
        'local_permuted'
    """
    return name.replace(",", "").replace(" ", "_")


def interval(one: Difference) -> tuple[float, float]:
    """Of seeds and test items where there are seeds enough, else of seeds alone; in points."""
    low, high = quoted(one)
    return 100 * low, 100 * high


def points(one: Difference, sign: int = 1) -> str:
    """A difference in accuracy (points) with its interval.

    Args:
        one: the difference.
        sign: -1 tells the reference minus the arm.

    Example:
        >>> points({"difference": 0.01, "two_way_interval": None, "t_interval": [0, 0.02]}, -1)
        '-1 [-2, 0]'
    """
    ends = sorted(sign * end for end in interval(one))
    mean, low, high = (f"{_short(value):g}" for value in (sign * 100 * one["difference"], *ends))
    return f"{mean} [{low}, {high}]"


def hundredths(measured: Measured) -> dict[str, Any]:
    """A mean with its interval to two digits after the point.

    Example:
        >>> hundredths(Measured.of([99.011, 99.021]))["said"]
        '99.02 [98.95, 99.08]'
    """
    mean, ends = _short(measured.mean), measured.interval
    if ends is None:
        return {"mean": mean, "low": None, "high": None, "said": f"{mean:g}"}
    low, high = _short(ends.low), _short(ends.high)
    return {"mean": mean, "low": low, "high": high, "said": f"{mean:g} [{low:g}, {high:g}]"}


def _short(value: float) -> float:
    return round(value, 2) + 0.0
