"""Compare networks at the same cost and on the same seeds.

```
_plan       what is compared, and the settings of each run
_budget     parameters and multiply-adds; unmatched arms are refused
_jobs       single runs and their folders
_place      shifted images, other sizes, deformations, paths
_against    differences between arms, and their verdicts
_summary    from runs to results
```

plan → budgets → tuning on validation images → runs → one test at the last step → report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from placewise import __version__
from placewise.comparison._against import held_against
from placewise.comparison._budget import Budget, budget_of, check_matched
from placewise.comparison._jobs import (
    Job,
    Kind,
    dataset_of,
    examine_job,
    metric_of,
    model_of,
    no_control,
    score_of,
    train_job,
)
from placewise.comparison._place import audit_ratios
from placewise.comparison._plan import Arm, Plan, Trial, Tuning, make_plan, read_plan, trials_of
from placewise.comparison._summary import CLAIM, summarise
from placewise.engine import check_engine, run_all
from placewise.errors import SettingsError, ShapeError, TrainingError
from placewise.family import load_plugin
from placewise.files import claim_folder, make_folder, read_json, write_json, write_text
from placewise.model import Network
from placewise.report.comparison import Compared, compare_report, compare_table
from placewise.report.text import table
from placewise.statistics import detectable_effect
from placewise.tasks import build, task_named

__all__ = [
    "Arm",
    "Budget",
    "Plan",
    "Trial",
    "Tuning",
    "budget_of",
    "build_arm",
    "check_matched",
    "compare",
    "held_against",
    "make_plan",
    "read_plan",
]

RESULT = "plan.json"
"""Marks the folder of a comparison; written before anything else."""

Jobs = dict[str, list[Job]]


def compare(
    plan: Plan,
    out: str | Path,
    *,
    engine: str = "local",
    n_jobs: int | None = None,
    plugins: Sequence[str] = (),
    quiet: bool = False,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Compare arms, and write results.json, table.md and report.html.

    The same call continues an interrupted comparison.

    Args:
        plan: what is compared.
        out: folder of the comparison: new, empty, or that of the same plan.
        engine: "local", "ray", "dask", or "ray://…" or "dask://…".
        n_jobs: processes; None: one for each core.
        plugins: modules to import first, for your own heads and backbones.
        quiet: show no progress.
        tell: takes the messages for the user.

    Returns:
        What `results.json` holds.

    Raises:
        SettingsError: the arms' budgets differ, the folder is another comparison's, or an arm
            cannot be built.

    Example:
        >>> compare(read_plan("plan.toml"), "out")["matched"]  # doctest: +SKIP
        True
    """
    check_engine(engine, n_jobs)
    for name in plugins:
        load_plugin(name)
    out = Path(out)
    _check_out(out, plan)
    stated = _stated(plan)
    plan, out = plan.model_copy(update={"data": plan.data.resolve()}), out.resolve()
    _check_measure(plan)
    budgets, ratios, note = _prepare(plan)
    without = {arm.name: no_control(plan, arm) if plan.place else "" for arm in plan.arms}
    tell(_announced(plan, budgets, without, note))
    make_folder(out)
    write_json(out / RESULT, stated)
    do = partial(run_all, engine=engine, n_jobs=n_jobs, quiet=quiet)
    tuning: Jobs = {}
    if plan.tuning.trials > 1:
        tuning = _jobs(plan, out, plugins, "tuning")
        do(train_job, _all(tuning), Job.progress_of_result, what="trials")
    chosen = {arm.name: _best(plan, arm, tuning.get(arm.name, [])) for arm in plan.arms}
    runs = _jobs(plan, out, plugins, "runs", chosen)
    controls = _jobs(plan, out, plugins, "permuted", chosen) if plan.place else {}
    permuted = {name: jobs for name, jobs in controls.items() if not without[name]}
    every = [*_all(runs), *_all(permuted)]
    do(train_job, every, Job.progress, what="runs")
    do(examine_job, every, Job.progress_of_result, what="tests")
    results = {
        "placewise": __version__,
        "plan": stated,
        **summarise(plan, budgets, ratios, tuning, runs, permuted, without, note),
    }
    write_json(out / "results.json", results)
    words = task_named(dataset_of(plan).task).place_words
    compared = Compared(results, metric_of(plan), words)
    report = compare_report(compared, out.name)
    write_text(out / "table.md", compare_table(compared))
    write_text(out / "report.html", report.html())
    tell(report.text())
    tell(f"report: {out / 'report.html'}")
    return results


def build_arm(plan: Plan, arm: Arm, seed: int) -> Network[Any]:
    """The network of an arm as a run with this seed starts: the backbone is drawn before the head.

    Example:
        >>> build_arm(plan, plan.arms[0], seed=3)  # doctest: +SKIP
        ClassModel(...)
    """
    model = model_of(plan, arm, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(model)


def _prepare(plan: Plan) -> tuple[dict[str, Budget], dict[str, dict[str, Any]], str]:
    """(budgets, audits, note) of the arms; unmatched ones are refused."""
    budgets, ratios = {}, {}
    for arm in plan.arms:
        try:
            network = build_arm(plan, arm, 0)
        except (SettingsError, ShapeError) as error:
            raise SettingsError(f"arm '{arm.name}': {error}") from None
        image = (network.input.channels, *network.input_size)
        budgets[arm.name] = budget_of(network, image)
        ratios[arm.name] = audit_ratios(network.eval(), image) if plan.place else {}
    return budgets, ratios, check_matched(budgets, unmatched=plan.unmatched)


def _check_out(out: Path, plan: Plan) -> None:
    claim_folder(out, RESULT)
    if not (out / RESULT).is_file():
        return
    before = read_json(out / RESULT)
    if before | {"data": ""} != _stated(plan) | {"data": ""}:  # it may be named from elsewhere
        raise SettingsError(
            f"{out} holds a comparison with another plan; name a new folder with --out, or "
            f"continue it by giving the plan in {out / RESULT}"
        )


def _check_measure(plan: Plan) -> None:
    """Refuse a measure that does not fit the labels."""
    dataset, metric = dataset_of(plan), metric_of(plan)
    if plan.measure not in (None, metric.name):
        raise SettingsError(
            f"measure: got '{plan.measure}', but {plan.data} holds {dataset.what}, measured by "
            f"'{metric.name}'; leave 'measure' out"
        )


def _stated(plan: Plan) -> dict[str, Any]:
    stated: dict[str, Any] = plan.model_dump(mode="json")
    return stated


def _announced(plan: Plan, budgets: dict[str, Budget], without: dict[str, str], note: str) -> str:
    """The plan in words, shown before anything is trained."""
    rows = [
        [arm.name, arm.head, f"{one.parameters:,}", f"{one.multiply_adds:,}"]
        for arm in plan.arms
        for one in [budgets[arm.name]]
    ]
    trials = 0 if plan.tuning.trials == 1 else plan.tuning.trials * len(plan.arms)
    runs = plan.seeds * len(plan.arms)
    counts = f"{trials} tuning runs and {runs} runs"
    permuted = plan.seeds * sum(not why for why in without.values()) * plan.place
    control = f", and {permuted} with places permuted" if permuted else ""
    effect = detectable_effect(plan.seeds)
    aim = "enough to claim" if plan.seeds >= CLAIM else f"exploratory; a claim needs {CLAIM}"
    return "\n".join(
        [
            table(["arm", "head", "parameters", "multiply-adds"], rows, numbers=[2, 3]),
            *([note] if note else []),
            f"{counts}{control}, each of {plan.steps} steps; {plan.seeds} seeds are {aim}.",
            f"They find a difference of {effect:.2f} standard deviations of the paired differences "
            "in 80 of 100 cases.",
        ]
    )


def _jobs(
    plan: Plan,
    out: Path,
    plugins: Sequence[str],
    kind: Kind,
    chosen: dict[str, Trial] | None = None,
) -> Jobs:
    """Jobs of each arm: its trials, or a run for each seed."""
    found: Jobs = {}
    for arm in plan.arms:
        trials = trials_of(plan, arm) if chosen is None else [chosen[arm.name]] * plan.seeds
        found[arm.name] = [
            Job(out, plan, arm.name, number, trial, kind, tuple(plugins))
            for number, trial in enumerate(trials)
        ]
    return found


def _all(jobs: Jobs) -> list[Job]:
    """All arms of a seed before the next seed, so that an interrupted sweep is balanced."""
    return [job for same in zip(*jobs.values(), strict=True) for job in same]


def _best(plan: Plan, arm: Arm, trials: Sequence[Job]) -> Trial:
    """The trial that is best on the validation images; the first if nothing was tuned."""
    if not trials:
        return trials_of(plan, arm)[0]
    scores = {job.number: value for job in trials if (value := score_of(job)) is not None}
    if not scores:
        raise TrainingError(
            f"every trial of the arm '{arm.name}' failed; the first: "
            f"{read_json(trials[0].result)['why']}"
        )
    choose = max if metric_of(plan).better == "higher" else min
    return trials[choose(scores, key=lambda number: scores[number])].trial
