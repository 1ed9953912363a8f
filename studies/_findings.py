"""What studies tell their numbers with: rounding, intervals, verdicts on claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.statistics import Interval, paired_difference
from studies._page import shown


def significant(value: float) -> float:
    """Three significant digits, whole numbers from a thousand on: what is shown is what is kept.

    Example:
        >>> significant(10.51234), significant(57881.6)
        (10.5, 57882.0)
    """
    return float(round(value)) if abs(value) >= 1e3 else float(f"{value:.3g}")


@dataclass(frozen=True)
class Measured:
    """A mean over seeds with its 95 % t interval.

    Attributes:
        mean: over the seeds.
        interval: where the mean over all seeds lies; None for a single seed.
        values: one for each seed.
    """

    mean: float
    interval: Interval | None
    values: tuple[float, ...]

    @staticmethod
    def of(values: Sequence[float], minus: Sequence[float] | None = None) -> Measured:
        """The mean of values, or of their differences to others of the same seeds.

        Example:
            >>> Measured.of([90, 92, 91], minus=[80, 82, 84]).numbers()["said"]
            '9 [4.7, 13.3]'
        """
        others = minus if minus is not None else [0.0] * len(values)
        differences = tuple(a - b for a, b in zip(values, others, strict=True))
        many = len(differences) > 1
        interval = paired_difference(values, others).student if many else None
        return Measured(float(np.mean(differences)), interval, differences)

    def numbers(self) -> dict[str, Any]:
        """As a page tells it, to one digit after the point."""
        mean = tenth(self.mean)
        if self.interval is None:
            return {"mean": mean, "low": None, "high": None, "said": shown(mean)}
        low, high = tenth(self.interval.low), tenth(self.interval.high)
        said = f"{shown(mean)} [{shown(low)}, {shown(high)}]"
        return {"mean": mean, "low": low, "high": high, "said": said}


def gains(measured: Measured, least: float) -> bool | None:
    """Whether a difference is above zero; None where its interval does not decide.

    Args:
        measured: the difference.
        least: what would be worth having: an interval from zero or below to more than that is open.

    Example:
        >>> [gains(Measured.of(v), 1) for v in ([3, 4, 5], [0, 0, 0], [-3, 4, 5])]
        [True, False, None]
    """
    if measured.interval is None:
        return None
    if measured.interval.low > 0:
        return True
    return None if measured.interval.high > least else False


def tenth(value: float) -> float:
    """A number to one digit after the point; never minus zero.

    Example:
        >>> tenth(99.96), tenth(-0.04)
        (100.0, 0.0)
    """
    return round(value, 1) + 0.0


@dataclass(frozen=True)
class Case:
    """One number that speaks for a claim or against it.

    Attributes:
        name: what was counted or measured.
        number: what was found.
        holds: whether the claim holds here; None where the number does not decide it.
    """

    name: str
    number: Any
    holds: bool | None


def judge(claim: str, what: str, cases: Sequence[Case]) -> dict[str, Any]:
    """True if a claim holds in all cases, false if in none, else partly; open if one is undecided.

    Example:
        >>> judge("It grows.", "by", [Case("here", 2, True), Case("there", 1, False)])
        {'claim': 'It grows.', 'verdict': 'partly', 'said': 'by: 2 (here); 1 (there)'}
    """
    holds = [case.holds for case in cases]
    verdict = "true" if all(holds) else "partly" if any(holds) else "false"
    verdict = "open" if None in holds else verdict
    said = "; ".join(f"{shown(case.number)} ({case.name})" for case in cases)
    return {"claim": claim, "verdict": verdict, "said": f"{what}: {said}"}


def table_of(
    claims: Sequence[dict[str, Any]], header: str = "claim of the thread"
) -> dict[str, Any]:
    """A table of claims and their verdicts, with a header for the claims."""
    return {
        "header": [header, "verdict", "evidence"],
        "rows": [[c["claim"], f"**{c['verdict']}**", c["said"]] for c in claims],
    }
