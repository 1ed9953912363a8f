"""What was found, as the page tells it: tables, and claims that are judged again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from placewise.decoders import DECODERS
from studies._findings import Case, Measured, judge, table_of
from studies.convergence.runs import settled, validation
from studies.keypoints.claims import WORKS, works, worse
from studies.keypoints.runs import REFERENCE, WAYS, Outcome
from studies.keypoints.told import Along, Difference, against, arms_of, reached, said

Read = Mapping[str, Mapping[str, Mapping[str, Measured]]]
"""Errors by data set, by arm that gives heatmaps, and by decoder."""

COORDINATES, SQUARED = "flatten", "mse"
"""Arms that claims are about."""


def longest(along: Along) -> dict[str, Outcome]:
    """The longest trainings of each data set."""
    return {name: by_steps[max(by_steps)] for name, by_steps in along.items()}


def mapped(arms: Sequence[str]) -> list[str]:
    """The arms whose maps a decoder reads."""
    return [arm for arm in arms if WAYS[arm].head == "heatmap"]


# --- tables --------------------------------------------------------------------------------------


def answer_table(along: Along) -> dict[str, Any]:
    """Each arm after the longest training: error, and difference from the reference."""
    rows = [
        [
            name,
            one.results["steps"],
            WAYS[arm].said,
            reached(one, arm),
            None if arm == REFERENCE else against(one, arm),
        ]
        for name, one in longest(along).items()
        for arm in one.arms
    ]
    header = ["data", "steps", "arm", "error", f"minus {WAYS[REFERENCE].said}"]
    return {"header": header, "rows": rows}


def length_table(
    along: Along, cell: Callable[[Outcome, str], str], *, others: bool = False
) -> dict[str, Any]:
    """A row for each data set and length of training, a column for each arm.

    Args:
        along: comparisons by data set and number of steps.
        cell: what stands there.
        others: leave out the reference.
    """
    arms = [arm for arm in arms_of(longest(along)) if not (others and arm == REFERENCE)]
    rows = [
        [name, steps, *(cell(outcome, arm) for arm in arms)]
        for name, by_steps in along.items()
        for steps, outcome in by_steps.items()
    ]
    return {"header": ["data", "steps", *(WAYS[arm].said for arm in arms)], "rows": rows}


def error(outcome: Outcome, arm: str) -> str:
    """Error on the test images with its interval."""
    return said(Measured.of(outcome.values(arm)))


def settled_table(along: Along) -> dict[str, Any]:
    """From where on each arm improved no longer, and where validation images found it best."""
    rows = []
    for name, by_steps in along.items():
        for arm in arms_of(longest(along)):
            errors = validation(by_steps, arm)
            since, best = settled(errors), min(errors, key=errors.__getitem__)
            line = " → ".join(said(Measured.of([value])) for value in errors.values())
            rows.append(
                [
                    name,
                    WAYS[arm].said,
                    line,
                    f"still improving at {max(errors):,}" if since is None else since,
                    best,
                    reached(by_steps[best], arm),
                ]
            )
    header = ["data", "arm", "validation, by length", "no better from", "best at", "test there"]
    return {"header": header, "rows": rows}


def unsettled(along: Along) -> str:
    """The arms that still improved when the budget ended, with the data sets."""
    found = []
    for arm in arms_of(longest(along)):
        names = [n for n, by_steps in along.items() if settled(validation(by_steps, arm)) is None]
        found += [f"{WAYS[arm].said} ({', '.join(names)})"] if names else []
    return "; ".join(found) or "none"


def decoder_table(read: Read) -> dict[str, Any]:
    """Error by loss of the heatmap, by decoder and by data set."""
    arms = list(next(iter(read.values())))
    rows = [
        [WAYS[arm].said, decoder, *(said(by_arm[arm][decoder]) for by_arm in read.values())]
        for arm in arms
        for decoder in DECODERS.names()
    ]
    return {"header": ["loss", "decoder", *read], "rows": rows}


# --- claims --------------------------------------------------------------------------------------


def judged(along: Along, read: Read) -> dict[str, Any]:
    """Each claim with its verdict after the longest trainings, and the table of them.

    Args:
        along: comparisons by data set and number of steps.
        read: errors by decoder.
    """
    found = longest(along)
    minus = "minus the heatmap, in % of the longer side"
    every = {
        "works": judge(
            "Keypoints can be found without a fully connected layer: one map for each keypoint, "
            "read at the indexes where it is largest.",
            f"error in % of the longer side, to be below {WORKS} % of the mean position's",
            [works(one, name, read[name][REFERENCE]["argmax"]) for name, one in found.items()],
        ),
        "beneficial": judge(
            "Leaving out the fully connected layer is beneficial, also after long training.",
            f"coordinates, flattened and fully connected, {minus}",
            [worse(one, name, COORDINATES) for name, one in found.items()],
        ),
        "shrinks": judge(
            "The lead of the heatmap over coordinates shrinks when both are trained longer.",
            "that difference after the longest training minus after the shortest",
            [_lower(name, lead(along[name])) for name in found],
        ),
        "finer": judge(
            "Reading a map between its pixels is better than the indexes where it is largest.",
            "error of integral minus that of argmax, in % of the longer side",
            [_lower(name, finer(by_arm[REFERENCE])) for name, by_arm in read.items()],
        ),
    }
    if SQUARED in arms_of(found):
        every["squared"] = judge(
            "After long training, squared error for each pixel is as good as the softmax.",
            f"heatmaps with squared error {minus}",
            [_as_good(name, Difference.of(one, SQUARED)) for name, one in found.items()],
        )
    return {**every, "table": table_of(list(every.values()), "claim")}


def lead(by_steps: Mapping[int, Outcome]) -> Measured:
    """How the lead of the reference over coordinates changed from the shortest to the longest."""
    last, first = (
        Measured.of(one.values(COORDINATES), minus=one.values(REFERENCE)).values
        for one in (by_steps[end(by_steps)] for end in (max, min))
    )
    return Measured.of(last, minus=first)


def finer(by_decoder: Mapping[str, Measured]) -> Measured:
    """Error of the finer decoder minus that of the indexes."""
    return Measured.of(by_decoder["integral"].values, minus=by_decoder["argmax"].values)


def _lower(name: str, measured: Measured) -> Case:
    """Whether a difference is below zero; its interval decides."""
    ends = measured.interval
    holds = None if ends is None or ends.holds(0) else ends.high < 0
    return Case(name, said(measured), holds)


def _as_good(name: str, one: Difference) -> Case:
    """Whether an arm is no worse than the reference."""
    holds = None if one.verdict == "open" else one.verdict != "worse"
    return Case(name, said(one.measured), holds)
