"""Does keeping place help thin structures? Losses, maps at several strides, skip connections.

```
net        the U-Net without what its skip connections carry
material   lines drawn at known places, and vessels of the retina in pieces
runs       arms, budgets, and one comparison for each set
read       trained runs on the test images: Dice, clDice, recall of what is thin
told       tables and sentences
claims     what the thread says, judged
figures    points more than the reference; what is right, missed and invented
```

Training is a plan of `placewise.comparison` for each set, in which each arm differs from the first
in one thing. A plan compares by Dice alone, so `read` scores the trained runs once more, by all
measures of the task. The U-Net has no switch for its skip connections: the arm without them is a
backbone of this study.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from studies import Findings, Options, Study
from studies._runs import Run, run_each
from studies.vessels import figures, material, told
from studies.vessels.claims import ENOUGH, LEAST, judged
from studies.vessels.material import LINES, PIECE, VESSELS
from studies.vessels.read import WIDTH, examined
from studies.vessels.runs import BUDGETS, DEPTH, RATE, REFERENCE, STEM, WAYS, train
from studies.vessels.told import Found


class Vessels(Study):
    """Whether full-size maps, skip connections and losses made for it help to find thin things."""

    def run(self, options: Options) -> Findings:
        """Train all arms on all sets, score them, judge the claims, draw the figures."""
        why = (
            "at this scale drawn lines are enough"
            if options.scale == "tiny"
            else material.missing(options.data)
        )
        with ExitStack() as stack:
            folder = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place = (folder / f"vessels-{options.scale}-{options.seed}").resolve()
            found = [
                measure(name, options, place) for name in (LINES, *(() if why else (VESSELS,)))
            ]
            return Findings(
                {
                    "missing": why,
                    **_settings(options),
                    "costs": told.costs_table(found[0]),
                    **{one.name: told.numbers(one) for one in found},
                    "claims": judged(found),
                },
                {
                    **{f"{one.name}_differences": figures.differences(one) for one in found},
                    "examples": figures.examples(found),
                },
            )


def measure(name: str, options: Options, folder: Path) -> Found:
    """Train and score everything on one set, or take what is kept.

    Args:
        name: `LINES` or `VESSELS`.
        options: how the study is run.
        folder: where images and runs are kept.
    """
    budget = BUDGETS[options.scale]
    trained = train(name, options, folder)
    asked = [(arm, seed) for seed in range(budget.seeds) for arm in budget.arms]
    options.tell(f"{name}: test images")
    runs = [
        Run(
            f"{name}/read/{arm}-{seed}",
            {"run": str(trained.run(arm, seed)), "data": str(trained.data)},
        )
        for arm, seed in asked
    ]
    read = run_each(examined, runs, replace(options, runs=folder), what="tests")
    by_run = dict(zip(asked, read, strict=True))
    scores = {arm: [by_run[arm, seed] for seed in range(budget.seeds)] for arm in budget.arms}
    return Found(name, scores, trained)


def _settings(options: Options) -> dict[str, Any]:
    """What was decided before the runs."""
    budget = BUDGETS[options.scale]
    return {
        "budget": {name: getattr(budget, name) for name in ("seeds", "steps", "batch")}
        | {"side": round(budget.pixels**0.5), "depth": DEPTH, "rate": RATE},
        "drawn": budget.amount.lines,
        "reference": WAYS[REFERENCE].said,
        "stem": STEM,
        "retinas": "CHASE_DB1",
        "piece": PIECE,
        "width": WIDTH,
        "least": LEAST,
        "enough": ENOUGH,
    }
