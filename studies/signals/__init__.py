"""Does the end of a recording suffer? One net with several padding rules, on beats at its ends.

```
net        one straight net for every padding rule
material   excerpts of real recordings, and made ones
runs       rules, budgets, and one comparison for each fold
windows    the same beat near an end and inside: windows, matching, counts
read       trained runs on windows; path counts of their nets
told       tables and sentences
claims     what the thread says, judged
figures    paths and missed beats by the distance from the end
```

Training is a plan of `placewise.comparison` for each fold: the same seeds, steps, windows and
augmentation for all rules. Two things no plan can do, and they are here. (1) The backbones of the
package add maps of different layers, and refuse `valid` and `full`, which change the size of a map:
so the plan names a backbone of this study, which adds nothing. (2) A plan scores recordings as they
are, whose few ends tell nothing: `read` shows each trained run windows about the same beat.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from studies import Findings, Options, Study
from studies._runs import Run, run_each
from studies.signals import figures, material, told
from studies.signals.claims import judged
from studies.signals.material import ECG, MADE
from studies.signals.net import CELL, WINDOW, Straight
from studies.signals.read import TOLERANCE, examined, paths_at
from studies.signals.runs import BUDGETS, RATE, RULES, train
from studies.signals.runs import WINDOW as SIDE
from studies.signals.told import Found, milliseconds
from studies.signals.windows import BANDS, summed


class Signals(Study):
    """Whether beats near an end of a recording are missed, and with which padding rule."""

    def run(self, options: Options) -> Findings:
        """Train all rules, show them each beat near an end and inside, judge the claims."""
        why = (
            "at this scale made recordings are enough"
            if options.scale == "tiny"
            else material.missing(options.data)
        )
        layers = BUDGETS[options.scale].layers
        paths = {rule: paths_at(rule, SIDE, layers) for rule in RULES}
        with ExitStack() as stack:
            folder = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place = (folder / f"signals-{options.scale}-{options.seed}").resolve()
            found = [measure(name, options, place) for name in (MADE, *(() if why else (ECG,)))]
        return Findings(
            {
                "missing": why,
                **_settings(options, layers),
                "paths": told.paths_table(paths),
                "first": {rule: told.percent(paths[rule], 0) for rule in RULES},
                **{one.name: told.numbers(one) for one in found},
                "claims": judged(found, paths),
            },
            {
                "distance": figures.by_distance(found, paths),
                "bands": figures.in_bands(found),
            },
        )


def measure(name: str, options: Options, folder: Path) -> Found:
    """Train and read everything on one kind of recordings, or take what is kept.

    Args:
        name: `MADE` or `ECG`.
        options: how the study is run.
        folder: where recordings and runs are kept.
    """
    budget = BUDGETS[options.scale]
    trained = {fold: train(name, fold, options, folder) for fold in material.folds(name)}
    asked = [
        (rule, seed, fold) for rule in RULES for seed in range(budget.seeds) for fold in trained
    ]
    options.tell(f"{name}: windows of the test recordings")
    runs = [
        Run(
            f"{name}-{fold}/read/{rule}-{seed}",
            {
                "run": str(trained[fold].run(rule, seed)),
                "labels": str(trained[fold].labels),
                "side": SIDE,
            },
        )
        for rule, seed, fold in asked
    ]
    read = run_each(examined, runs, replace(options, runs=folder), what="tests")
    by_run = dict(zip(asked, read, strict=True))
    return Found(
        name,
        {
            rule: [
                _together([by_run[rule, seed, fold] for fold in trained])
                for seed in range(budget.seeds)
            ]
            for rule in RULES
        },
    )


def _together(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of all folds, each of which tests other patients."""
    counts = {name: summed([one[name] for one in folds]) for name in ("pairs", "bands")}
    return {**counts, "beats": sum(one["beats"] for one in folds)}


def _settings(options: Options, layers: int) -> dict[str, Any]:
    """What was decided before the runs."""
    budget = BUDGETS[options.scale]
    field = Straight(1, 1, width=1, layers=layers).receptive_field
    return {
        "budget": {name: getattr(budget, name) for name in ("seeds", "steps", "batch", "width")}
        | {"layers": layers, "rate": RATE},
        "amount": vars(budget.amount) | {"half": budget.amount.patients // 2},
        "net": {
            "cell": CELL,
            "window": WINDOW,
            "field_ms": milliseconds(field),
            "half_ms": milliseconds(field / 2),
        },
        "side_ms": milliseconds(SIDE),
        "tolerance_ms": round(1000 * TOLERANCE),
        "nearest_ms": milliseconds(told.NEAREST),
        "band_ms": milliseconds(BANDS[1]),
        "near_ms": milliseconds(max(told.near_ends())),
        "records": len(material.RECORDS[0]),
        "folds": len(material.RECORDS),
    }
