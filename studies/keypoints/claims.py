"""The thread's claims, judged by the numbers that were found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies._findings import Case, Measured, judge, significant, table_of
from studies.keypoints import material
from studies.keypoints.runs import Outcome
from studies.keypoints.told import Difference, Outcomes, arms_of, said

WORKS = 50
"""An arm finds its keypoints if its error is below this percentage of the mean position's."""


def judged(found: Outcomes, read: Mapping[str, Mapping[str, Measured]]) -> dict[str, Any]:
    """Each claim with its verdict, and the table of them.

    Args:
        found: what was found.
        read: by data set and decoder, errors of the reference.
    """
    minus = "minus the heatmap, in % of the longer side"
    limit = f"error in % of the longer side, to be below {WORKS} % of the mean position's"
    every = {
        "works": judge(
            "Keypoints can be found without a fully connected layer: one map for each keypoint, "
            "read at the indexes where it is largest.",
            limit,
            [works(one, name, read[name]["argmax"]) for name, one in found.items()],
        ),
        "beneficial": judge(
            "Leaving out the fully connected layer is beneficial.",
            f"coordinates, flattened and fully connected, {minus}",
            [worse(one, name, "flatten") for name, one in found.items()],
        ),
    }
    if "cross_entropy" in arms_of(found):
        every["cross_entropy"] = judge(
            "It can be trained with a sigmoid for each pixel and cross-entropy with a mask.",
            limit,
            [
                works(one, name, Measured.of(one.values("cross_entropy")))
                for name, one in found.items()
            ],
        )
    if "narrow" in arms_of(found):
        every["forgiving"] = judge(
            "The loss should be forgiving: a Gaussian around the keypoint, so that neighbouring "
            "pixels count too, gives a smoother signal.",
            f"soft labels half as wide {minus}",
            [worse(one, name, "narrow") for name, one in found.items()],
        )
    return {**every, "table": table_of(list(every.values()))}


def works(outcome: Outcome, name: str, measured: Measured) -> Case:
    """Whether an error is well below that of always predicting the mean position."""
    nothing = material.baseline(outcome.labels) * outcome.percent
    limit, ends = WORKS / 100 * nothing, measured.interval
    holds = None if ends is None or ends.holds(limit) else ends.high < limit
    return Case(f"{name}, mean position {significant(nothing):g}", said(measured), holds)


def worse(outcome: Outcome, name: str, arm: str) -> Case:
    """Whether an arm is worse than the reference."""
    one = Difference.of(outcome, arm)
    holds = None if one.verdict == "open" else one.verdict == "worse"
    return Case(name, said(one.measured), holds)
