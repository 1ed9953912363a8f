"""What the thread says about nearness, judged by the differences that were found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies._findings import Case, judge, table_of
from studies.proximity.arms import AVERAGE, BEST, FLAT, PALM, PERMUTED, PIXELS, RANDOM
from studies.proximity.numbers import Difference, Outcomes, against, points

HOLDS = {"better": True, "worse": False, "equal": False, "open": None}
TURNED = {"better": "worse", "worse": "better", "equal": "equal", "open": "open"}

WHAT = "accuracy (points)"


def over(where: str, one: Difference) -> Case:
    """The reference is better than an arm."""
    return Case(where, points(one, -1), HOLDS[TURNED[one["verdict"]]])


def claims(
    held: Mapping[str, Outcomes], differences: Mapping[str, Mapping[str, Difference]]
) -> dict[str, Any]:
    """The claims, and a table of them.

    Args:
        held: name of each contest to what its arms reached.
        differences: the same contests, each arm against the first.
    """
    trunk = {name: found for name, found in differences.items() if FLAT.name in found}
    bare = {name: found for name, found in differences.items() if name not in trunk}
    controls = (RANDOM.name, PERMUTED.name)
    every = {
        "nearness": judge(
            "Connecting neighbours is fundamentally better (local above random and permuted "
            "wiring of the same cost).",
            f"{WHAT}, local minus",
            [over(f"{name}, {arm}", trunk[name][arm]) for name in trunk for arm in controls],
        ),
        "flattening": judge(
            "It is better than flattening.",
            f"{WHAT}, local minus flattened",
            [over(name, trunk[name][FLAT.name]) for name in trunk],
        ),
        "chosen": judge(
            "Nearness is a better guide to connections than training itself.",
            f"{WHAT}, local minus best inputs",
            [over(name, trunk[name][BEST.name]) for name in trunk],
        ),
        "palm": judge(
            "A branch for each class, like a palm tree, is better than flattening.",
            f"{WHAT}, palm tree minus flattened",
            [_held(name, held[name], PALM.name) for name in trunk],
        ),
        "average": judge(
            "Averages over the map (fully convolutional) do the same or better with enough "
            "channels.",
            f"{WHAT}, average minus flattened",
            [_not_worse(name, held[name], AVERAGE.name) for name in trunk],
        ),
    }
    if bare:
        every["pixels"] = judge(
            "Without a convolution, connecting near pixels is better.",
            f"{WHAT}, near minus",
            [
                over(arm, one)
                for found in bare.values()
                for arm, one in found.items()
                if arm != PIXELS[-1].name
            ],
        )
    return {**every, "table": table_of(list(every.values()))}


def _held(where: str, found: Outcomes, name: str) -> Case:
    """An arm is better than the flattened one."""
    one = _to_flat(found, name)
    return Case(where, points(one), HOLDS[one["verdict"]])


def _not_worse(where: str, found: Outcomes, name: str) -> Case:
    """An arm is as good as the flattened one, or better."""
    one = _to_flat(found, name)
    holds = {"better": True, "equal": True, "worse": False, "open": None}
    return Case(where, points(one), holds[one["verdict"]])


def _to_flat(found: Outcomes, name: str) -> Difference:
    return against({arm: found[arm] for arm in (FLAT.name, name)}, FLAT.name)[name]
