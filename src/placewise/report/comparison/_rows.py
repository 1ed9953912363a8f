"""Rows of the tables of a comparison, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from placewise.geometry import FloatArray
from placewise.report.verdicts import VERDICTS, quoted
from placewise.wording import number

Results = Mapping[str, Any]
"""What `results.json` holds."""

Rows = tuple[list[str], list[list[str]]]
"""Header and rows of a table."""

SURE = ("better", "worse")


def verdict(results: Results) -> str:
    """The finding: a sentence for each arm that is better or worse, and one for the others."""
    found = [_said(results, one) for one in results["comparisons"] if one["verdict"] in SURE]
    other = f"'{results['reference']}'"
    seeds = f" by {results['seeds']} seeds"
    for kind, words, end in (
        ("equal", "practically equal to", ""),
        ("open", "not told apart from", seeds),
    ):
        names = [f"'{one['arm']}'" for one in results["comparisons"] if one["verdict"] == kind]
        if names:
            listed = ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
            be = "are" if len(names) > 1 else "is"
            found.append(f"{listed} {be} {words} {other}{end}.")
    return " ".join(found)


def _said(results: Results, one: Mapping[str, Any]) -> str:
    """How much better or worse, turned so that both are above 0."""
    low, high = quoted(one)
    if one["verdict"] == "worse":
        low, high = -high, -low
    by = as_difference(results, abs(one["difference"]), signed=False)
    interval = as_interval(results, (low, high), signed=False)
    words = f"'{one['arm']}' is {one['verdict']} than '{one['reference']}'"
    return f"{words} by {by} {interval} {unit_of(results)}."


def runs_apart(results: Results) -> str:
    """In how many seeds the two runs alone are told apart; empty where there are no classes."""
    counts = {
        one["arm"]: sum(p < 0.05 for p in one["mcnemar_p"])
        for one in results["comparisons"]
        if one["mcnemar_p"]
    }
    if not counts:
        return ""
    said = ", ".join(f"'{arm}' in {count}" for arm, count in counts.items())
    return (
        f"Of {results['seeds']} pairs of runs, an exact McNemar test (p < 0.05) tells apart: "
        f"{said}. It weighs test images alone, so no verdict rests on it."
    )


def comparison_rows(results: Results) -> Rows:
    """Each arm against the reference."""
    header = [
        f"against {results['reference']}",
        "verdict",
        f"difference ({unit_of(results)})",
        "seeds × items",
        "seeds, t",
        "p (Holm)",
        "better / equal / worse",
    ]
    rows = [
        [
            one["arm"],
            VERDICTS[one["verdict"]],
            as_difference(results, one["difference"]),
            as_interval(results, one["two_way_interval"]),
            as_interval(results, one["t_interval"]),
            _p(one["p_holm"]),
            " / ".join(f"{100 * one[key]:.0f} %" for key in ("better", "equal", "worse")),
        ]
        for one in results["comparisons"]
    ]
    return header, rows


def arm_rows(results: Results) -> Rows:
    """What each arm reaches, and costs."""
    header = [
        "arm",
        "head",
        measure_of(results),
        "95 %",
        "parameters",
        "multiply-adds",
        "learning rate",
        "images/s",
    ]
    rows = [
        [
            arm["name"],
            arm["head"],
            as_value(results, arm["mean"]),
            as_interval(results, arm["interval"], signed=False),
            f"{arm['parameters']:,}",
            f"{arm['multiply_adds']:,}",
            f"{arm['learning_rate']:.3g}",
            number(arm["images_per_second"]),
        ]
        for arm in results["arms"]
    ]
    return header, rows


def place_rows(results: Results) -> Rows:
    """How each arm answers on changed images."""
    first = results["arms"][0]["place"]
    header = [
        "arm",
        "place-use index",
        *(f"shifted {key} px" for key in first["shifted"]),
        *(f"size × {key}" for key in first["sizes"]),
        "R_f" if in_percent(results) else "R_τ",
    ]
    rows = []
    for arm in results["arms"]:
        place = arm["place"]
        cells = [_mean(results, place["shifted"][key]) for key in first["shifted"]]
        cells += [_mean(results, place["sizes"][key]) for key in first["sizes"]]
        deformed = number(place["deformation"]["mean"]) if place["deformation"] else "–"
        rows.append([arm["name"], _index(results, place["use_index"]), *cells, deformed])
    return header, rows


def without_index(results: Results) -> str:
    """Why arms have no place-use index; empty where all have one."""
    whys = {arm["name"]: arm["place"]["no_index"] for arm in results["arms"]}
    said = "; ".join(f"'{name}': {why}" for name, why in whys.items() if why)
    return f"No place-use index: {said}." if said else ""


def _index(results: Results, index: Mapping[str, Any] | None) -> str:
    if index is None:
        return "–"
    return f"{as_difference(results, index['mean'])} {as_interval(results, index['interval'])}"


def path_rows(results: Results) -> Rows:
    """What the audit counts: it does not depend on the weights."""
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
        for arm in results["arms"]
    ]
    return ["arm", *columns], rows


def carried(results: Results) -> str:
    """What every table says where the arms are not matched."""
    return " ".join(note for note in results["notes"] if "NOT matched" in note)


def by_seed_differences(results: Results, name: str) -> FloatArray:
    """(seeds,) what an arm is better by than the reference."""
    values = {arm["name"]: [one["value"] for one in arm["by_seed"]] for arm in results["arms"]}
    sign = 1 if results["better"] == "higher" else -1
    ours, theirs = (np.array(values[key], np.float64) for key in (name, results["reference"]))
    found: FloatArray = sign * (ours - theirs)
    return found


def unit_of(results: Results) -> str:
    """Unit of differences."""
    return "points" if in_percent(results) else "px"


def in_percent(results: Results) -> bool:
    """Whether the measure is written in percent."""
    return bool(results["measure"] == "accuracy")


def measure_of(results: Results) -> str:
    """The measure with its unit."""
    return "accuracy (%)" if in_percent(results) else "mean error (px)"


def as_value(results: Results, value: float) -> str:
    """A measure, as it is written."""
    return f"{100 * value:.2f}" if in_percent(results) else f"{value:.3f}"


def as_difference(results: Results, value: float, *, signed: bool = True) -> str:
    """A difference of two, as it is written."""
    shown = f"{100 * value:+.2f}" if in_percent(results) else f"{value:+.3f}"
    return (shown if signed else shown.lstrip("+")).replace("-", "−")


def as_interval(results: Results, ends: Sequence[float] | None, *, signed: bool = True) -> str:
    """An interval of differences; a dash where there is none."""
    if ends is None:
        return "–"
    low, high = (as_difference(results, end, signed=signed) for end in ends)
    return f"[{low}, {high}]"


def _mean(results: Results, found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else as_value(results, found["mean"])


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
