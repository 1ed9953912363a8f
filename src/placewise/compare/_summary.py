"""Runs to findings: what the arms reach, how sure their differences are, where they lose place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.checkpoint import read_json
from placewise.compare._budget import Budget
from placewise.compare._jobs import Job, read_items, score_of
from placewise.compare._plan import Plan
from placewise.errors import SettingsError
from placewise.statistics import (
    FEWEST,
    chances,
    detectable_effect,
    holm,
    mcnemar,
    paired_difference,
    two_way_interval,
)

CLAIM = 20
"""Seeds from which on a difference may be claimed; fewer explore."""

ROPES = {"accuracy": 0.002, "mean_error_px": 0.1}
"""Differences that do not matter in practice, unless the plan says otherwise."""

SURE = 0.95
"""Probability from which on arms are called practically equal."""

Values = NDArray[np.float64]


def summarise(
    plan: Plan,
    budgets: Mapping[str, Budget],
    ratios: Mapping[str, Mapping[str, Any]],
    tuning: Mapping[str, Sequence[Job]],
    runs: Mapping[str, Sequence[Job]],
    permuted: Mapping[str, Sequence[Job]],
    note: str,
) -> dict[str, Any]:
    """All that the results say, as plain JSON.

    Args:
        plan: the plan.
        budgets: of each arm.
        ratios: of each arm's audit; empty where none was made.
        tuning: trials of each arm.
        runs: tested runs of each arm, by seed.
        permuted: tested runs of each arm with places permuted; empty where there are none.
        note: what every table has to carry.
    """
    tested = {name: [read_json(job.result) for job in jobs] for name, jobs in runs.items()}
    values = {name: np.array([one["value"] for one in found]) for name, found in tested.items()}
    items = {name: _items(jobs) for name, jobs in runs.items()}
    first = tested[plan.against][0]
    notes = [*_notes(plan, tested, items), *([note] if note else [])]
    control = {name: _values(jobs) for name, jobs in permuted.items()}
    return {
        "measure": first["measure"],
        "better": "higher" if first["measure"] == "accuracy" else "lower",
        "reference": plan.against,
        "seeds": plan.seeds,
        "steps": plan.steps,
        "test_items": first["items"],
        "fingerprint": first["fingerprint"],
        "rope": rope_of(plan, first["measure"]),
        "detectable_effect_in_sd": detectable_effect(plan.seeds),
        "matched": not note,
        "notes": notes,
        "arms": [
            {
                "name": arm.name,
                "head": arm.head,
                "head_settings": arm.head_settings,
                "backbone": arm.backbone or plan.backbone,
                **asdict(budgets[arm.name]),
                **_reached(values[arm.name], runs[arm.name], tested[arm.name]),
                "tuning": _tuning(tuning.get(arm.name, ())),
                "place": _place(
                    tested[arm.name], values[arm.name], control.get(arm.name), permuted, arm.name
                )
                | {"audit": dict(ratios.get(arm.name, {}))},
            }
            for arm in plan.arms
        ],
        "comparisons": _comparisons(plan, first["measure"], values, items),
    }


def rope_of(plan: Plan, measure: str) -> float:
    """Half the width of the region of practical equivalence."""
    return ROPES[measure] if plan.rope is None else plan.rope


def _values(jobs: Sequence[Job]) -> Values:
    return np.array([read_json(job.result)["value"] for job in jobs])


def _items(jobs: Sequence[Job]) -> Values:
    """(seeds, items), refused where runs were not tested on the same."""
    names, values = zip(*(read_items(job.folder) for job in jobs), strict=True)
    if any(other != names[0] for other in names):
        raise SettingsError("the runs were tested on different items; begin anew in a new folder")
    return np.array(values)


def _notes(
    plan: Plan, tested: Mapping[str, Sequence[Mapping[str, Any]]], items: Mapping[str, Values]
) -> list[str]:
    found = [one for runs in tested.values() for one in runs]
    if len({one["fingerprint"] for one in found}) > 1:
        raise SettingsError("the data changed during the comparison; begin anew in a new folder")
    notes = []
    if plan.seeds < CLAIM:
        notes.append(
            f"{plan.seeds} seeds explore; a claim takes {CLAIM}, and a new choice of seeds."
        )
    alike = [
        len({str(one["input"]) for one in same}) == 1 for same in zip(*tested.values(), strict=True)
    ]
    if not all(alike):
        notes.append(
            "The arms do not see the pictures alike (scale or frame differ), so they share seeds "
            "but not every batch."
        )
    if len({values.shape for values in items.values()}) > 1:
        raise SettingsError("the arms were tested on different items; begin anew in a new folder")
    return notes


def _reached(
    values: Values, jobs: Sequence[Job], tested: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    speeds = [one["pictures_per_second"] for one in tested if one["pictures_per_second"]]
    return {
        "mean": float(values.mean()),
        "interval": _interval(values),
        "deviation": float(values.std(ddof=1)),
        "learning_rate": jobs[0].trial.learning_rate,
        "weight_decay": jobs[0].trial.weight_decay,
        "pictures_per_second": float(np.median(speeds)) if speeds else None,
        "by_seed": [
            {"seed": job.number, "value": float(value), "run": _path(job)}
            for job, value in zip(jobs, values, strict=True)
        ],
    }


def _path(job: Job) -> str:
    return job.folder.relative_to(job.out).as_posix()


def _interval(values: Values) -> list[float]:
    found = paired_difference(values, np.zeros(len(values))).student
    return [found.low, found.high]


def _tuning(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    return [{"run": _path(job), **job.trial.model_dump(), "value": score_of(job)} for job in jobs]


def _place(
    tested: Sequence[Mapping[str, Any]],
    values: Values,
    control: Values | None,
    permuted: Mapping[str, Sequence[Job]],
    name: str,
) -> dict[str, Any]:
    """Diagnostics of an arm: each a mean over the seeds with its t interval."""
    found: dict[str, Any] = {"use_index": None, "shifted": {}, "sizes": {}, "deformation": None}
    if control is not None:
        index = paired_difference(values, control)
        found["use_index"] = {
            "mean": index.mean,
            "interval": [index.student.low, index.student.high],
            "permuted_mean": float(control.mean()),
            "runs": [_path(job) for job in permuted[name]],
        }
    each = [one["place"] for one in tested]
    if all(each):
        for kind in ("shifted", "sizes"):
            for key in each[0][kind]:
                found[kind][key] = _over_seeds([one[kind][key] for one in each])
        found["deformation"] = _over_seeds([one["deformation"] for one in each])
    return found


def _over_seeds(values: Sequence[float | None]) -> dict[str, Any] | None:
    if any(value is None for value in values):
        return None
    known = np.array(values, np.float64)
    return {"mean": float(known.mean()), "interval": _interval(known)}


def _comparisons(
    plan: Plan, measure: str, values: Mapping[str, Values], items: Mapping[str, Values]
) -> list[dict[str, Any]]:
    """Each arm against the reference; a positive difference is better, whatever the measure."""
    sign = 1.0 if measure == "accuracy" else -1.0
    other = plan.against
    names = [arm.name for arm in plan.arms if arm.name != other]
    pairs = {name: paired_difference(sign * values[name], sign * values[other]) for name in names}
    adjusted = dict(zip(names, holm([pairs[name].p for name in names]), strict=True))
    rope = rope_of(plan, measure)
    found = []
    for name in names:
        pair = pairs[name]
        table = sign * (items[name] - items[other])
        both = two_way_interval(table) if min(table.shape) >= FEWEST else None
        chance = chances(sign * (values[name] - values[other]), rope)
        tests = None
        if measure == "accuracy":
            tests = [mcnemar(*rows) for rows in zip(items[name], items[other], strict=True)]
        one = {
            "arm": name,
            "reference": other,
            "difference": pair.mean,
            "deviation": pair.deviation,
            "t_interval": [pair.student.low, pair.student.high],
            "bootstrap_interval": _ends(pair.bootstrap),
            "two_way_interval": _ends(both),
            "p": pair.p,
            "p_holm": adjusted[name],
            **asdict(chance),
            "mcnemar_p": tests,
            "seeds_won": int((sign * (values[name] - values[other]) > 0).sum()),
        }
        found.append({**one, "verdict": _verdict(one)})
    return found


def _ends(interval: Any) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _verdict(one: Mapping[str, Any]) -> str:
    """One of better, worse, equal and open.

    Better or worse takes an adjusted p below 0.05 and a two-way interval without 0: it has to hold
    for other seeds and for other test items.
    """
    both = one["two_way_interval"] or one["t_interval"]
    if one["p_holm"] < 0.05 and not both[0] <= 0 <= both[1]:
        if one["equal"] >= SURE:
            return "equal"
        return "better" if one["difference"] > 0 else "worse"
    return "equal" if one["equal"] >= SURE else "open"
