"""Keypoints with and without a fully connected layer: heatmaps against coordinates.

```
material   the data sets, scaled, and with fewer images
runs       arms, budgets, and the comparisons
read       errors by distance from the border, and by decoder
told       tables and sentences
claims     what the thread says, judged
figures    differences of the arms; errors over sizes and numbers of images
```
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from studies import Findings, Options, Study
from studies.keypoints import figures, told
from studies.keypoints.claims import WORKS, judged
from studies.keypoints.material import DIGITS, MICE, missing
from studies.keypoints.read import decoded
from studies.keypoints.runs import (
    BUDGETS,
    NARROW,
    RATE,
    RATES,
    REFERENCE,
    ROPE,
    SIGMA,
    WAYS,
    WIDE,
    measure,
)

AXES = {"sides": "longest side (px)", "counts": "training images"}
"""What the few arms are trained along, besides."""


class Decoded(Study):
    """Whether keypoints work without a fully connected layer, and with which loss."""

    def run(self, options: Options) -> Findings:
        """Train all arms on all data sets, read them, judge the claims, draw the figures."""
        why = (
            "at this scale digits are enough" if options.scale == "tiny" else missing(options.data)
        )
        with ExitStack() as stack:
            folder = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place = folder / f"keypoints-{options.scale}-{options.seed}"
            found = {
                name: measure(name, options, place) for name in (DIGITS, *(() if why else MICE))
            }
            options.tell("decoders")
            main = {name: one.main for name, one in found.items()}
            along = {
                "counts": {name: one.counts for name, one in found.items()},
                "sides": {name: one.sides for name, one in found.items()},
            }
            few = told.few_of(main)
            drawn = {axis: figures.over(along[axis], few, AXES[axis]) for axis in sorted(AXES)}
            return Findings(
                {"missing": why, **_settings(options), **_found(main, along)},
                {"differences": figures.differences(main), **drawn},
            )


def _settings(options: Options) -> dict[str, Any]:
    """What was decided before the runs."""
    budget = BUDGETS[options.scale]
    return {
        "budget": {
            name: getattr(budget, name)
            for name in ("seeds", "axis_seeds", "trials", "width", "batch", "images")
        }
        | {"tuned": budget.trials > 1},
        "reference": WAYS[REFERENCE].said,
        "sigma": {"usual": SIGMA, "narrow": NARROW, "wide": WIDE},
        "rates": {"first": RATE, "low": RATES[0], "high": RATES[1]},
        "rope": ROPE,
        "works": WORKS,
    }


def _found(found: told.Outcomes, along: Mapping[str, told.Along]) -> dict[str, Any]:
    """What came of them."""
    first, few = found[DIGITS], told.few_of(found)
    read = {name: decoded(one) for name, one in found.items()}
    return {
        "sets": told.sets_table(found),
        "costs": told.by_arm(found, told.cost),
        "errors": told.by_arm(found, told.reached),
        "differences": told.by_arm(found, told.against, others=True),
        "verdicts": told.verdicts(found),
        "idle": told.idle(found),
        "tuned": told.by_arm(found, told.tuned),
        "digits": {arm: told.reached(first, arm) for arm in first.arms},
        "decoders": told.decoder_table(read),
        **{axis: told.axis_table(along[axis], few, AXES[axis]) for axis in AXES},
        "border": told.border_table(found),
        "claims": judged(found, read),
    }
