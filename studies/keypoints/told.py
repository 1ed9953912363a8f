"""What was found, as the page tells it: tables and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from placewise.decoders import DECODERS
from placewise.report.verdicts import VERDICTS, quoted
from placewise.statistics import Interval
from studies._findings import Measured, significant
from studies._page import shown
from studies.keypoints import material
from studies.keypoints.read import EDGES, bands, counted
from studies.keypoints.runs import FEW, REFERENCE, WAYS, Outcome

Outcomes = Mapping[str, Outcome]
"""By data set."""

Along = Mapping[str, Mapping[int, Outcome]]
"""By data set and by place on an axis, such as the longest side of the images."""


@dataclass(frozen=True)
class Difference:
    """An arm's error minus that of the reference in % of the longer side.

    Attributes:
        measured: its mean and 95 % interval: for other seeds and other test images, where there
            are seeds enough, else for other seeds.
        p: of the paired t test over seeds, after Holm.
        verdict: of the comparison, of `VERDICTS`.
    """

    measured: Measured
    p: float
    verdict: str

    @staticmethod
    def of(outcome: Outcome, arm: str) -> Difference:
        """As the comparison found it, whose differences are turned so that more is better."""
        one = next(c for c in outcome.results["comparisons"] if c["arm"] == arm)
        low, high = sorted(-end * outcome.percent for end in quoted(one))
        mean = -one["difference"] * outcome.percent
        return Difference(Measured(mean, Interval(low, high), ()), one["p_holm"], one["verdict"])


def said(measured: Measured) -> str:
    """A mean and its 95 % interval, to two digits after the point.

    Example:
        >>> said(Measured.of([1, 2, 3])), said(Measured.of([-0.001]))
        ('2.00 [-0.48, 4.48]', '0.00')
    """
    mean = _hundredths(measured.mean)
    if measured.interval is None:
        return mean
    return f"{mean} [{_hundredths(measured.interval.low)}, {_hundredths(measured.interval.high)}]"


def ranged(values: Sequence[float]) -> str:
    """A mean with the least and the largest value, for seeds too few for an interval.

    Example:
        >>> ranged([1, 4])
        '2.50 (1.00 to 4.00)'
    """
    mean, least, most = map(_hundredths, (fmean(values), min(values), max(values)))
    return f"{mean} ({least} to {most})"


def _hundredths(number: float) -> str:
    return f"{round(number, 2) + 0.0:.2f}"


def arms_of(found: Outcomes) -> list[str]:
    """The arms that were compared."""
    return list(next(iter(found.values())).arms)


def few_of(found: Outcomes) -> list[str]:
    """The arms that were also trained at other sizes and on fewer images."""
    return [arm for arm in FEW if arm in arms_of(found)]


# --- the arms ------------------------------------------------------------------------------------


def sets_table(found: Outcomes) -> dict[str, Any]:
    """What each data set is, and how far off one is that always answers the mean place."""
    rows = []
    for name, one in found.items():
        labels, off = one.labels, material.baseline(one.labels)
        percent, pixels = significant(off * one.percent), significant(off / one.factor)
        rows.append(
            [
                name,
                len(labels.names),
                *(len(material.part(labels, split)) for split in ("train", "val", "test")),
                round(material.longest(labels) / one.factor),
                material.longest(labels),
                one.results["steps"],
                f"{percent:g} % ({pixels:g} px)",
            ]
        )
    header = [
        "data",
        "keypoints",
        "train",
        "validation",
        "test",
        "longest side (px)",
        "scaled (px)",
    ]
    return {"header": [*header, "steps", "mean position"], "rows": rows}


def by_arm(
    found: Outcomes, cell: Callable[[Outcome, str], str], *, others: bool = False
) -> dict[str, Any]:
    """A row for each arm, a column for each data set.

    Args:
        found: what was found.
        cell: what stands there.
        others: leave out the reference.
    """
    rows = [
        [WAYS[arm].said, *(cell(one, arm) for one in found.values())]
        for arm in arms_of(found)
        if not (others and arm == REFERENCE)
    ]
    return {"header": ["arm", *found], "rows": rows}


def reached(outcome: Outcome, arm: str) -> str:
    """Error in per cent with its interval, and in pixels of the images as they came."""
    pixels = significant(outcome.arms[arm]["mean"] / outcome.factor)
    return f"{said(Measured.of(outcome.values(arm)))} % ({shown(pixels)} px)"


def against(outcome: Outcome, arm: str) -> str:
    """Difference from the reference with its interval, and the verdict."""
    one = Difference.of(outcome, arm)
    return f"{'+' * (one.measured.mean > 0)}{said(one.measured)}, {VERDICTS[one.verdict]}"


def cost(outcome: Outcome, arm: str) -> str:
    """Parameters and millions of multiply-adds."""
    one = outcome.arms[arm]
    return f"{one['parameters']:,}; {significant(one['multiply_adds'] / 1e6):g} M"


def tuned(outcome: Outcome, arm: str) -> str:
    """Learning rate and weight decay that validation chose."""
    return f"{outcome.arms[arm]['learning_rate']:g}; {outcome.arms[arm]['weight_decay']:g}"


def verdicts(found: Outcomes) -> dict[str, str]:
    """By verdict, the arms that got it, each with the data sets where it did."""
    others = [arm for arm in arms_of(found) if arm != REFERENCE]
    got = {
        (arm, name): Difference.of(one, arm).verdict
        for arm in others
        for name, one in found.items()
    }
    return {
        verdict: _listed(found, {key for key, value in got.items() if value == verdict})
        for verdict in VERDICTS
    }


def idle(found: Outcomes) -> str:
    """The arms that are not surely better than always answering the mean place, with the sets."""
    where = set()
    for name, one in found.items():
        nothing = material.baseline(one.labels) * one.percent
        for arm in arms_of(found):
            ends = Measured.of(one.values(arm)).interval
            if ends is None or ends.high >= nothing:
                where.add((arm, name))
    return _listed(found, where)


def _listed(found: Outcomes, where: Set[tuple[str, str]]) -> str:
    """Arms in their order, each with its data sets.

    Args:
        found: what was found.
        where: (arm, data set) of each.
    """
    lines = []
    for arm in arms_of(found):
        names = [name for name in found if (arm, name) in where]
        sets = "all sets" if len(names) == len(found) > 1 else ", ".join(names)
        lines += [f"{WAYS[arm].said} ({sets})"] if names else []
    return "; ".join(lines) or "none"


# --- further axes --------------------------------------------------------------------------------


def axis_table(along: Along, arms: Sequence[str], name: str) -> dict[str, Any]:
    """Errors of arms, a row for each data set and each place on an axis.

    Args:
        along: what was found along the axis.
        arms: a column for each.
        name: of the axis, for the header.
    """
    rows = []
    for data, places in along.items():
        for place, outcome in places.items():
            cells = [ranged(values) for values in on_axis(places, outcome, arms)]
            rows.append([data, place, *cells])
    return {"header": ["data", name, *(WAYS[arm].said for arm in arms)], "rows": rows}


def on_axis(
    along: Mapping[int, Outcome], outcome: Outcome, arms: Sequence[str]
) -> list[list[float]]:
    """Errors by seed for each arm, of as many seeds as there are everywhere on the axis."""
    seeds = min(other.results["seeds"] for other in along.values())
    return [outcome.values(arm, seeds) for arm in arms]


def border_table(found: Outcomes) -> dict[str, Any]:
    """Error of each arm by distance from the border."""
    rows: list[list[Any]] = []
    for name, one in found.items():
        rows.append([name, "*labelled keypoints*", *map(str, counted(one))])
        for arm in arms_of(found):
            cells = [None if band is None else said(band) for band in bands(one, arm)]
            rows.append([name, WAYS[arm].said, *cells])
    names = [f"{low:g} to {high:g}" for low, high in pairwise(EDGES)]
    return {"header": ["data", "arm", *names], "rows": rows}


def decoder_table(read: Mapping[str, Mapping[str, Measured]]) -> dict[str, Any]:
    """Error by decoder and data set.

    Args:
        read: by data set, what `read.decoded` found.
    """
    rows = [
        [decoder, *(said(by_decoder[decoder]) for by_decoder in read.values())]
        for decoder in DECODERS.names()
    ]
    return {"header": ["decoder", *read], "rows": rows}
