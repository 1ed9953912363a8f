"""What was found, as the page tells it: the same beat near an end and inside, by padding rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from placewise.geometry import FloatArray
from studies._findings import Measured, tenth
from studies._page import shown
from studies.signals.material import RATE
from studies.signals.runs import RULES
from studies.signals.windows import BANDS, DISTANCES, f1, summed

NEAREST, CONTROL = DISTANCES[0], DISTANCES[-1]
"""Samples from the end: the closest that is tried, and where no end is in the receptive field."""

NEAR = 0.3
"""Seconds from an end within which no beat should be lost that would be found inside."""


@dataclass(frozen=True)
class Found:
    """What was found on one kind of recordings.

    Attributes:
        name: of the recordings.
        counts: rule -> for each seed what `read.examined` counted, folds added up.
    """

    name: str
    counts: Mapping[str, Sequence[Mapping[str, Any]]]

    def each(self, rule: str, distances: Sequence[int], share: str) -> list[float]:
        """Per cent of the pairs at some distances, one for each seed.

        Args:
            rule: padding rule.
            distances: samples from the end.
            share: of `pairs_of`: "missed", "inside" or "lost".
        """
        values = []
        for one in self.counts[rule]:
            total = summed([{"all": one["pairs"][str(at)]} for at in distances])["all"]
            values.append(100 * total[share] / total["pairs"])
        return values

    def missed(self, rule: str, *distances: int) -> Measured:
        """Points of beats missed near an end, minus the same beats inside."""
        near, inside = (self.each(rule, distances, share) for share in ("missed", "inside"))
        return Measured.of(near, minus=inside)

    def inside(self, rule: str) -> Measured:
        """Per cent of the beats that are missed in the middle of a window."""
        return Measured.of(self.each(rule, [CONTROL], "inside"))

    def more_missed(self, rule: str, other: str, *distances: int) -> Measured:
        """Points of beats missed near an end by a rule, minus those by another one."""
        return Measured.of(*(self.each(one, distances, "missed") for one in (rule, other)))

    def error(self, rule: str, distance: int) -> Measured | None:
        """Error in ms near an end minus inside, of beats found at both; None without any."""
        near, inside = [], []
        for one in self.counts[rule]:
            pair = one["pairs"][str(distance)]
            if not pair["both"]:
                return None
            near.append(1000 * pair["error"] / pair["both"] / RATE)
            inside.append(1000 * pair["error_inside"] / pair["both"] / RATE)
        return Measured.of(near, minus=inside)

    def f1_by_seed(self, rule: str, band: int) -> list[float]:
        """F1 in % in a band of distances from the end; 0 where nothing is there or found."""
        values = [f1(one["bands"][str(band)]) for one in self.counts[rule]]
        return [100 * (value or 0.0) for value in values]

    @property
    def beats(self) -> int:
        """Beats that are compared, with themselves, by each run."""
        return int(self.counts[RULES[0]][0]["beats"])


def milliseconds(samples: float) -> int:
    """Samples as time.

    Example:
        >>> milliseconds(36)
        100
    """
    return round(1000 * samples / RATE)


def near_ends() -> tuple[int, ...]:
    """Distances up to `NEAR` from the end."""
    return tuple(at for at in DISTANCES if at <= NEAR * RATE)


# --- tables --------------------------------------------------------------------------------------


def _by_distance(cell: Callable[[str, int], Any]) -> dict[str, Any]:
    header = ["padding rule", *(f"{milliseconds(at)} ms" for at in DISTANCES)]
    return {"header": header, "rows": [[r, *(cell(r, at) for at in DISTANCES)] for r in RULES]}


def missed_table(found: Found) -> dict[str, Any]:
    """Points of beats missed near an end minus inside; and per cent missed inside."""
    table = _by_distance(lambda rule, at: found.missed(rule, at).numbers()["said"])
    rows = [
        [*row, found.inside(rule).numbers()["said"]]
        for rule, row in zip(RULES, table["rows"], strict=True)
    ]
    return {"header": [*table["header"], "missed inside"], "rows": rows}


def error_table(found: Found) -> dict[str, Any]:
    """Milliseconds of error near an end minus inside."""

    def cell(rule: str, at: int) -> str | None:
        measured = found.error(rule, at)
        return None if measured is None else str(measured.numbers()["said"])

    return _by_distance(cell)


def f1_table(found: Found) -> dict[str, Any]:
    """F1 in bands of distances from the end."""
    ends = [f"{milliseconds(a)} to {milliseconds(b)}" for a, b in pairwise(BANDS)]
    header = ["padding rule", *(f"{one} ms" for one in ends), f"over {milliseconds(BANDS[-1])} ms"]
    rows = [
        [rule, *(Measured.of(found.f1_by_seed(rule, low)).numbers()["said"] for low in BANDS)]
        for rule in RULES
    ]
    return {"header": header, "rows": rows}


def paths_table(paths: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Paths from samples near the start, in % of those from the middle."""
    header = ["padding rule", "first sample", *(f"{milliseconds(at)} ms" for at in DISTANCES)]
    rows = [[rule, *(shown(percent(paths[rule], at)) for at in (0, *DISTANCES))] for rule in RULES]
    return {"header": header, "rows": rows}


def percent(paths: FloatArray, at: int) -> float:
    """Paths from a sample, in % of those from the middle."""
    return tenth(100 * float(paths[at]) / float(paths[len(paths) // 2]))


# --- numbers that the text says ------------------------------------------------------------------


def numbers(found: Found) -> dict[str, Any]:
    """What the text says of one kind of recordings."""
    return {
        "beats": found.beats,
        "missed": missed_table(found),
        "error": error_table(found),
        "f1": f1_table(found),
        "nearest": {rule: found.missed(rule, NEAREST).numbers() for rule in RULES},
        "near": {rule: found.missed(rule, *near_ends()).numbers() for rule in RULES},
        "f1_at_end": {
            rule: Measured.of(found.f1_by_seed(rule, BANDS[0])).numbers() for rule in RULES
        },
    }
