"""Keypoints at convergence: heatmaps against coordinates, trained until validation is no better.

```
runs       arms, budgets, and the rule that ends the doubling of the steps
told       tables, and the claims of the study `keypoints` judged again
```
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from studies import Findings, Options, Study
from studies.convergence import told
from studies.convergence.runs import BUDGETS, IMPROVES, lengthened
from studies.keypoints import figures
from studies.keypoints.claims import WORKS
from studies.keypoints.material import DIGITS, MICE, missing
from studies.keypoints.read import decoded
from studies.keypoints.runs import RATE, RATES, REFERENCE, ROPE, SIGMA, WAYS
from studies.keypoints.told import Along, against, by_arm, cost, idle, sets_table, tuned


class Converged(Study):
    """Whether heatmaps are still ahead of coordinates when training longer does not help."""

    def run(self, options: Options) -> Findings:
        """Train all arms ever longer on all data sets, read them, judge the claims."""
        why = (
            "at this scale digits are enough" if options.scale == "tiny" else missing(options.data)
        )
        with ExitStack() as stack:
            folder = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place = folder / f"convergence-{options.scale}-{options.seed}"
            sets = (DIGITS, *(() if why else MICE))
            along = {name: lengthened(name, options, place) for name in sets}
            options.tell("decoders")
            arms = BUDGETS[options.scale].arms
            return Findings(
                {"missing": why, **_settings(options), **_found(along)},
                {"lengths": figures.over(along, arms, "steps", doubling=True)},
            )


def _settings(options: Options) -> dict[str, Any]:
    """What was decided before the runs."""
    budget = BUDGETS[options.scale]
    kept = ("seeds", "trials", "width", "batch", "images")
    return {
        "budget": {name: getattr(budget, name) for name in kept} | {"tuned": budget.trials > 1},
        "reference": WAYS[REFERENCE].said,
        "improves": IMPROVES,
        "sigma": SIGMA,
        "rates": {"first": RATE, "low": RATES[0], "high": RATES[1]},
        "rope": ROPE,
        "works": WORKS,
    }


def _found(along: Along) -> dict[str, Any]:
    """What came of them."""
    longest = told.longest(along)
    read = {
        name: {arm: decoded(one, arm) for arm in told.mapped(list(one.arms))}
        for name, one in longest.items()
    }
    return {
        "answer": told.answer_table(along),
        "sets": sets_table(longest),
        "costs": by_arm(longest, cost),
        "errors": told.length_table(along, told.error),
        "differences": told.length_table(along, against, others=True),
        "settled": told.settled_table(along),
        "unsettled": told.unsettled(along),
        "idle": idle(longest),
        "decoders": told.decoder_table(read),
        "tuned": by_arm(longest, tuned),
        "claims": told.judged(along, read),
    }
