"""What the thread says, judged by the numbers that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from placewise.geometry import FloatArray
from studies._findings import Case, Measured, gains, judge, table_of
from studies.signals.runs import RULES
from studies.signals.told import CONTROL, NEAREST, Found, milliseconds, near_ends, percent
from studies.signals.windows import BANDS

LEAST = 1.0
"""Points that would be worth having."""

USUAL, *OTHERS = RULES
REMEDIES = [rule for rule in OTHERS if rule != "valid"]


def judged(found: Sequence[Found], paths: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Each claim with its verdict, and the table of them.

    Args:
        found: by kind of recordings.
        paths: of the net with each padding rule, as shares of the most.
    """
    nearest = f"{milliseconds(NEAREST)} ms from an end"
    strip = "% of the beats missed near an end, minus the same beats inside"
    first = {rule: percent(paths[rule], 0) for rule in RULES}
    every = {
        "paths": judge(
            "The outermost neurons have fewer paths than those in the middle, also in one "
            "dimension.",
            "paths of the first sample in % of the middle",
            [Case(rule, first[rule], first[rule] < 100) for rule in RULES],
        ),
        "missed": judge(
            "In a recording the middle is not the most important part, so its ends suffer: a beat "
            "there is missed more often than the same beat inside.",
            f"% of the beats missed near an end, minus the same beats inside, {nearest}",
            [_positive(one, rule, one.missed(rule, NEAREST)) for one in found for rule in RULES],
        ),
        "kept": judge(
            f"No beat within {milliseconds(max(near_ends()))} ms of an end is lost that is found "
            "inside.",
            f"{strip}, mean over all distances up to that",
            [_none_lost(one, rule) for one in found for rule in RULES],
        ),
        "follows": judge(
            "The fewer the paths, the more is missed.",
            f"missed {nearest}, in points more than with {USUAL}",
            [_follows(one, rule, first) for one in found for rule in OTHERS],
        ),
        "overcome": judge(
            "There are ways to overcome it: another padding rule.",
            f"F1 in points more than with {USUAL}, within {milliseconds(BANDS[1])} ms of an end",
            [_positive(one, rule, _gain(one, rule)) for one in found for rule in REMEDIES],
        ),
        "strip": judge(
            "Only a strip of half the receptive field suffers.",
            f"{strip}, {milliseconds(CONTROL)} ms from an end, largest of all seeds",
            [_untouched(one, rule) for one in found for rule in RULES],
        ),
    }
    return {**every, "table": table_of(list(every.values()))}


def _gain(found: Found, rule: str) -> Measured:
    """Points of F1 at the ends more than with the usual rule."""
    return Measured.of(*(found.f1_by_seed(one, BANDS[0]) for one in (rule, USUAL)))


def _positive(found: Found, rule: str, measured: Measured) -> Case:
    return Case(f"{found.name}, {rule}", measured.numbers()["said"], gains(measured, LEAST))


def _none_lost(found: Found, rule: str) -> Case:
    measured = found.missed(rule, *near_ends())
    lost = gains(measured, LEAST)
    holds = None if lost is None else not lost
    return Case(f"{found.name}, {rule}", measured.numbers()["said"], holds)


def _follows(found: Found, rule: str, first: Mapping[str, float]) -> Case:
    """Whether a rule with more paths than the usual one misses less, and one with fewer more."""
    measured = found.more_missed(rule, USUAL, NEAREST)
    expected = np.sign(first[USUAL] - first[rule])
    ends = measured.interval
    undecided = ends is None or ends.holds(0.0)
    holds = None if undecided else bool(np.sign(measured.mean) == expected)
    return Case(f"{found.name}, {rule}", measured.numbers()["said"], holds)


def _untouched(found: Found, rule: str) -> Case:
    worst = max(map(abs, found.missed(rule, CONTROL).values))
    return Case(f"{found.name}, {rule}", round(worst, 1), worst < LEAST)
