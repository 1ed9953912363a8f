"""What the thread says, judged by the numbers that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studies._findings import Case, gains, judge, table_of
from studies.vessels.material import LINES, VESSELS
from studies.vessels.read import MEASURES
from studies.vessels.runs import LOSSES, THIN, WAYS
from studies.vessels.told import Found

LEAST = 1.0
"""Points that would be worth having."""

ENOUGH = {LINES: 90.0, VESSELS: 76.8}
"""Dice in % from which thin things are found: of vessels, that of a second observer with the first
(bob.ip.binseg, on whole images within the field of view)."""


def judged(found: Sequence[Found]) -> dict[str, Any]:
    """Each claim with its verdict, and the table of them.

    Args:
        found: by set.
    """
    thin = f"points of {MEASURES['thin']}"
    pairs = {
        "last": (("bce", "maps_2"), ("cells_4", "maps_4")),
        "first": (("cells_1", "bce"), ("bce", "cells_4")),
        "skips": (("bce", "no_skips"),),
        "losses": tuple((loss, "bce") for loss in THIN),
    }
    cases = {
        name: [_more(one, *pair) for one in found for pair in some if set(pair) <= set(one.scores)]
        for name, some in pairs.items()
    }
    every = {
        "segmentation": judge(
            "Thin things can be found as in segmentation: an image where each pixel gets assigned "
            "a class.",
            "Dice in %",
            [_enough(one, loss) for one in found for loss in _of(one, LOSSES)],
        ),
        "last": judge(
            "They are found better if the last maps keep the place of each pixel.",
            f"{thin}, last maps at full size minus coarser ones",
            cases["last"],
        ),
        "first": judge(
            "They are found better if the first maps are finer, too.",
            f"{thin}, finer first maps minus coarser ones",
            cases["first"],
        ),
        "skips": judge(
            "Skip connections help, because the coarse maps do not know the place of thin things.",
            f"{thin}, with skip connections minus without",
            cases["skips"],
        ),
        "losses": judge(
            "A loss that was made for thin things finds more of them than cross-entropy.",
            f"{thin}, minus cross-entropy",
            cases["losses"],
        ),
        "connected": judge(
            "Such a loss keeps them connected.",
            f"points of {MEASURES['cldice']}, minus cross-entropy",
            [_more(one, loss, "bce", "cldice") for one in found for loss in _of(one, THIN)],
        ),
        "free": judge(
            "Such a loss costs no Dice.",
            f"points of {MEASURES['dice']}, minus cross-entropy",
            [_kept(one, loss) for one in found for loss in _of(one, THIN)],
        ),
    }
    asked = {name: one for name, one in every.items() if cases.get(name, True)}
    return {**asked, "table": table_of(list(asked.values()))}


def _of(found: Found, arms: Sequence[str]) -> list[str]:
    """Those of the arms that were trained."""
    return [arm for arm in arms if arm in found.scores]


def _enough(found: Found, arm: str) -> Case:
    reached, limit = found.reached(arm, "dice"), ENOUGH[found.name]
    ends = reached.interval
    holds = None if ends is None or ends.holds(limit) else ends.low > limit
    said = reached.numbers()["said"]
    return Case(f"{found.name}, {WAYS[arm].said}, limit {limit:g}", said, holds)


def _more(found: Found, arm: str, than: str, measure: str = "thin") -> Case:
    """Whether an arm finds more than another one."""
    measured = found.more(arm, measure, than)
    name = f"{found.name}, {WAYS[arm].said}, minus {WAYS[than].said}"
    return Case(name, measured.numbers()["said"], gains(measured, LEAST))


def _kept(found: Found, arm: str) -> Case:
    """Whether Dice is not lower than the reference's by more than what matters."""
    measured = found.more(arm, "dice")
    ends = measured.interval
    holds = None if ends is None or ends.holds(-LEAST) else ends.low > -LEAST
    return Case(f"{found.name}, {WAYS[arm].said}", measured.numbers()["said"], holds)
