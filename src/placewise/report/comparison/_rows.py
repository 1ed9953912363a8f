"""Rows of the tables of a comparison, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.geometry import FloatArray
from placewise.metrics import Metric
from placewise.report.verdicts import VERDICTS, quoted
from placewise.wording import enumerated, number

Rows = tuple[list[str], list[list[str]]]
"""Header and rows of a table."""

Columns = dict[str, Callable[[Mapping[str, Any]], str]]
"""For each heading the cell below it, of what a row is about."""

Words = Sequence[tuple[str, str]]
"""Words, each with what it means."""

SURE = ("better", "worse")


@dataclass(frozen=True)
class Compared:
    """What is reported on.

    Attributes:
        results: what `results.json` holds.
        metric: what the arms are compared by.
        place_words: the words of the place-use index and of the deformation sensitivity.
    """

    results: Mapping[str, Any]
    metric: Metric
    place_words: Words = ()

    @property
    def notes(self) -> list[str]:
        """The notes of the results."""
        return list(self.results["notes"])

    def interval(self, ends: Sequence[float] | None, *, signed: bool = True) -> str:
        """An interval of differences; a dash where there is none."""
        if ends is None:
            return "–"
        low, high = (self.metric.difference(end, signed=signed) for end in ends)
        return f"[{low}, {high}]"

    def gains(self, name: str) -> FloatArray:
        """(seeds,) by what an arm is better than the reference."""
        arms = {
            arm["name"]: [one["value"] for one in arm["by_seed"]] for arm in self.results["arms"]
        }
        new, old = (np.array(arms[key], np.float64) for key in (name, self.results["reference"]))
        found: FloatArray = self.metric.gain(new, old)
        return found


def verdict(compared: Compared) -> str:
    """The finding: a sentence for each arm that is better or worse, and one for the others."""
    every, reference = compared.results["comparisons"], f"'{compared.results['reference']}'"
    found = [_said(compared, one) for one in every if one["verdict"] in SURE]
    equal, open_ = (
        [f"'{one['arm']}'" for one in every if one["verdict"] == kind] for kind in ("equal", "open")
    )
    if equal:
        be = "are" if len(equal) > 1 else "is"
        found.append(f"{enumerated(equal)} {be} practically equal to {reference}.")
    if open_:
        seeds = compared.results["seeds"]
        found.append(f"{seeds} seeds do not distinguish {enumerated(open_)} from {reference}.")
    return " ".join(found)


def _said(compared: Compared, one: Mapping[str, Any]) -> str:
    """How much better or worse, turned so that both are above 0."""
    low, high = quoted(one)
    if one["verdict"] == "worse":
        low, high = -high, -low
    by = compared.metric.difference(abs(one["difference"]), signed=False)
    interval = compared.interval((low, high), signed=False)
    words = f"'{one['arm']}' is {one['verdict']} than '{one['reference']}'"
    return f"{words} by {by} {interval} {compared.metric.difference_unit}."


def runs_apart(compared: Compared) -> str:
    """In how many seeds the two runs differ; empty where items are not right or wrong."""
    counts = {
        one["arm"]: sum(p < 0.05 for p in one["mcnemar_p"])
        for one in compared.results["comparisons"]
        if one["mcnemar_p"]
    }
    if not counts:
        return ""
    said = ", ".join(f"'{arm}' in {count}" for arm, count in counts.items())
    return (
        f"Of {compared.results['seeds']} pairs of runs, an exact McNemar test (p < 0.05) tells "
        f"apart: {said}. It considers the test images alone, so no verdict is based on it."
    )


def comparison_rows(compared: Compared) -> Rows:
    """Each arm against the reference."""
    metric, chances = compared.metric, ("better", "equal", "worse")
    columns: Columns = {
        f"against {compared.results['reference']}": lambda one: one["arm"],
        "verdict": lambda one: VERDICTS[one["verdict"]],
        f"difference ({metric.difference_unit})": lambda one: metric.difference(one["difference"]),
        "seeds × items": lambda one: compared.interval(one["two_way_interval"]),
        "seeds, t": lambda one: compared.interval(one["t_interval"]),
        "p (Holm)": lambda one: _p(one["p_holm"]),
        " / ".join(chances): lambda one: " / ".join(f"{100 * one[key]:.0f} %" for key in chances),
    }
    return _rows(columns, compared.results["comparisons"])


def _rows(columns: Columns, found: Sequence[Mapping[str, Any]]) -> Rows:
    return list(columns), [[cell(one) for cell in columns.values()] for one in found]


def arm_rows(compared: Compared) -> Rows:
    """What each arm reaches, and costs."""
    columns: Columns = {
        "arm": lambda arm: arm["name"],
        "head": lambda arm: arm["head"],
        compared.metric.heading: lambda arm: compared.metric.precise(arm["mean"]),
        "95 %": lambda arm: compared.interval(arm["interval"], signed=False),
        "parameters": lambda arm: f"{arm['parameters']:,}",
        "multiply-adds": lambda arm: f"{arm['multiply_adds']:,}",
        "learning rate": lambda arm: f"{arm['learning_rate']:.3g}",
        "images/s": lambda arm: number(arm["images_per_second"]),
    }
    return _rows(columns, compared.results["arms"])


def place_rows(compared: Compared) -> Rows:
    """What each arm reaches on changed images."""
    first = compared.results["arms"][0]["place"]
    header = [
        "arm",
        "place-use index",
        *(f"shifted {key} px" for key in first["shifted"]),
        *(f"size × {key}" for key in first["sizes"]),
        compared.place_words[1][0].split(",")[0],
    ]
    rows = []
    for arm in compared.results["arms"]:
        place = arm["place"]
        cells = [_mean(compared, place["shifted"][key]) for key in first["shifted"]]
        cells += [_mean(compared, place["sizes"][key]) for key in first["sizes"]]
        deformed = number(place["deformation"]["mean"]) if place["deformation"] else "–"
        rows.append([arm["name"], _index(compared, place["use_index"]), *cells, deformed])
    return header, rows


def without_index(compared: Compared) -> str:
    """Why arms have no place-use index; empty where all have one."""
    whys = {arm["name"]: arm["place"]["no_index"] for arm in compared.results["arms"]}
    said = "; ".join(f"'{name}': {why}" for name, why in whys.items() if why)
    return f"No place-use index: {said}." if said else ""


def _index(compared: Compared, index: Mapping[str, Any] | None) -> str:
    if index is None:
        return "–"
    return f"{compared.metric.difference(index['mean'])} {compared.interval(index['interval'])}"


def path_rows(compared: Compared) -> Rows:
    """What the audit counts; it does not depend on the weights."""
    columns = {
        "edge coverage": "edge_coverage",
        "best pixel / edge": "max_over_edge",
        "best / worst corner": "corner_ratio",
        "gini of paths": "gini",
        "unseen pixels": "unseen_pixels",
        "receptive field (px)": "receptive_field",
    }
    rows = [
        [arm["name"], *(number(arm["place"]["audit"].get(key)) for key in columns.values())]
        for arm in compared.results["arms"]
    ]
    return ["arm", *columns], rows


def unmatched(compared: Compared) -> str:
    """What every table says if the budgets of the arms do not match; else empty."""
    return " ".join(note for note in compared.notes if "NOT matched" in note)


def _mean(compared: Compared, found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else compared.metric.precise(found["mean"])


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
