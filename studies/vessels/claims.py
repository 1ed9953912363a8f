"""What the thread says, judged by the numbers that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studies._findings import Case, Measured, gains, judge, table_of
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
    every = {
        "segmentation": judge(
            "Thin things can be found as in segmentation: an image where each pixel gets assigned "
            "a class.",
            "Dice in %",
            [_enough(one, loss) for one in found for loss in _of(one, LOSSES)],
        ),
        "last": judge(
            "They are found better if the last maps keep the place of each pixel.",
            f"{thin}, more with maps at full size",
            [_less(one, arm) for one in found for arm in _of(one, ("maps_2", "maps_4"))],
        ),
        "first": judge(
            "They are found better if the first maps do not skip pixels either.",
            f"{thin}, more than with coarser first maps",
            [
                _more(one, *pair)
                for one in found
                for pair in (("cells_1", "bce"), ("bce", "cells_4"))
                if set(pair) <= set(one.scores)
            ],
        ),
        "skips": judge(
            "Skip connections help, because the coarse maps do not know the place of thin things.",
            f"{thin}, more with skip connections",
            [_less(one, arm) for one in found for arm in _of(one, ("no_skips",))],
        ),
        "losses": judge(
            "A loss that was made for thin things finds more of them than cross-entropy.",
            f"{thin}, more than with cross-entropy",
            [_more(one, loss, "bce") for one in found for loss in _of(one, THIN)],
        ),
        "connected": judge(
            "Such a loss keeps them connected.",
            f"points of {MEASURES['cldice']}, more than with cross-entropy",
            [_more(one, loss, "bce", "cldice") for one in found for loss in _of(one, THIN)],
        ),
        "free": judge(
            "Such a loss costs no Dice.",
            f"points of {MEASURES['dice']}, more than with cross-entropy",
            [_kept(one, loss) for one in found for loss in _of(one, THIN)],
        ),
    }
    return {**every, "table": table_of(list(every.values()))}


def _of(found: Found, arms: Sequence[str]) -> list[str]:
    """Those of the arms that were trained."""
    return [arm for arm in arms if arm in found.scores]


def _enough(found: Found, arm: str) -> Case:
    reached, limit = found.reached(arm, "dice"), ENOUGH[found.name]
    ends = reached.interval
    holds = None if ends is None or ends.holds(limit) else ends.low > limit
    said = reached.numbers()["said"]
    return Case(f"{found.name}, {WAYS[arm].said}, limit {limit:g}", said, holds)


def _case(found: Found, arm: str, measured: Measured) -> Case:
    name = f"{found.name}, {WAYS[arm].said}"
    return Case(name, measured.numbers()["said"], gains(measured, LEAST))


def _more(found: Found, arm: str, than: str, measure: str = "thin") -> Case:
    """Whether an arm finds more than another; the one that is not the reference is named."""
    named = arm if than == "bce" else than
    return _case(found, named, found.more(arm, measure, than))


def _less(found: Found, arm: str) -> Case:
    """Whether the reference finds more than an arm."""
    return _case(found, arm, found.more("bce", "thin", arm))


def _kept(found: Found, arm: str) -> Case:
    """Whether Dice is not lower than the reference's by more than what matters."""
    measured = found.more(arm, "dice")
    ends = measured.interval
    holds = None if ends is None or ends.holds(-LEAST) else ends.low > -LEAST
    return Case(f"{found.name}, {WAYS[arm].said}", measured.numbers()["said"], holds)
