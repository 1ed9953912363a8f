"""From runs to results: what each arm reaches, how sure differences are, what place does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.comparison._against import held_against
from placewise.comparison._budget import Budget
from placewise.comparison._jobs import Job, metric_of, read_items, score_of
from placewise.comparison._plan import Plan
from placewise.errors import SettingsError
from placewise.files import read_json
from placewise.metrics import Metric
from placewise.statistics import detectable_effect, paired_difference

CLAIM = 20
"""Seeds needed to claim a difference; fewer are exploratory."""

Values = NDArray[np.float64]


def summarise(
    plan: Plan,
    budgets: Mapping[str, Budget],
    ratios: Mapping[str, Mapping[str, Any]],
    tuning: Mapping[str, Sequence[Job]],
    runs: Mapping[str, Sequence[Job]],
    permuted: Mapping[str, Sequence[Job]],
    without: Mapping[str, str],
    note: str,
) -> dict[str, Any]:
    """The content of results.json.

    Args:
        plan: the plan.
        budgets: of each arm.
        ratios: of each arm's audit; empty if there is none.
        tuning: trials of each arm.
        runs: tested runs of each arm, by seed.
        permuted: tested runs of each arm with places permuted, if it has any.
        without: why an arm has none; empty if it has some or none were asked for.
        note: on unmatched arms; empty if they are matched.
    """
    tested = {name: [read_json(job.result) for job in jobs] for name, jobs in runs.items()}
    values = {name: np.array([one["value"] for one in found]) for name, found in tested.items()}
    items = {name: _items(jobs) for name, jobs in runs.items()}
    first = tested[plan.against][0]
    notes = [*_notes(plan, tested, items), *([note] if note else [])]
    metric = metric_of(plan)
    rope = (metric.equal or 0.0) if plan.rope is None else plan.rope
    return {
        "measure": metric.name,
        "better": metric.better,
        "metric": asdict(metric),
        "reference": plan.against,
        "seeds": plan.seeds,
        "steps": plan.steps,
        "test_items": first["items"],
        "fingerprint": first["fingerprint"],
        "rope": rope,
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
                "place": {
                    "use_index": _use_index(values[arm.name], permuted.get(arm.name, ()), metric),
                    "no_index": without.get(arm.name, ""),
                    **_changed(tested[arm.name]),
                    "audit": dict(ratios.get(arm.name, {})),
                },
            }
            for arm in plan.arms
        ],
        "comparisons": held_against(items, plan.against, metric, rope=rope),
    }


def _items(jobs: Sequence[Job]) -> Values:
    """(seeds, items), refused where runs were not tested on the same."""
    names, values = zip(*(read_items(job.folder) for job in jobs), strict=True)
    if any(other != names[0] for other in names):
        raise SettingsError("the runs were tested on different items; start again in a new folder")
    return np.array(values)


def _notes(
    plan: Plan, tested: Mapping[str, Sequence[Mapping[str, Any]]], items: Mapping[str, Values]
) -> list[str]:
    found = [one for runs in tested.values() for one in runs]
    if len({one["fingerprint"] for one in found}) > 1:
        raise SettingsError("the data changed during the comparison; start again in a new folder")
    notes = []
    if plan.seeds < CLAIM:
        notes.append(
            f"{plan.seeds} seeds are exploratory; a claim needs {CLAIM} seeds, chosen anew."
        )
    alike = [
        len({str(one["input"]) for one in same}) == 1 for same in zip(*tested.values(), strict=True)
    ]
    if not all(alike):
        notes.append(
            "The arms see the images at different scales or input sizes, so they share seeds but "
            "not every batch."
        )
    if len({values.shape for values in items.values()}) > 1:
        raise SettingsError("the arms were tested on different items; start again in a new folder")
    return notes


def _reached(
    values: Values, jobs: Sequence[Job], tested: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    speeds = [one["images_per_second"] for one in tested if one["images_per_second"]]
    return {
        "mean": float(values.mean()),
        "interval": _interval(values),
        "deviation": float(values.std(ddof=1)),
        "learning_rate": jobs[0].trial.learning_rate,
        "weight_decay": jobs[0].trial.weight_decay,
        "images_per_second": float(np.median(speeds)) if speeds else None,
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


def _use_index(values: Values, control: Sequence[Job], metric: Metric) -> dict[str, Any] | None:
    """What an arm loses when places are permuted; None if that was not tried."""
    if not control:
        return None
    without = np.array([read_json(job.result)["value"] for job in control])
    index = paired_difference(metric.gain(values, without), np.zeros(len(values)))
    return {
        "mean": index.mean,
        "interval": [index.student.low, index.student.high],
        "permuted_mean": float(without.mean()),
        "runs": [_path(job) for job in control],
    }


def _changed(tested: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Measures on changed images: means over the seeds with their t intervals."""
    each = [one["place"] for one in tested]
    if not all(each):
        return {"shifted": {}, "sizes": {}, "deformation": None}
    found: dict[str, Any] = {
        kind: {key: _over_seeds([one[kind][key] for one in each]) for key in each[0][kind]}
        for kind in ("shifted", "sizes")
    }
    return {**found, "deformation": _over_seeds([one["deformation"] for one in each])}


def _over_seeds(values: Sequence[float | None]) -> dict[str, Any] | None:
    if any(value is None for value in values):
        return None
    known = np.array(values, np.float64)
    return {"mean": float(known.mean()), "interval": _interval(known)}
