"""Small nets on digits that may stand anywhere, so that no place shows more than another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies import Options
from studies._findings import significant
from studies._material import Labelled, load_digits
from studies._training import accuracy, drawing, drawn_from, fit
from studies.edges.felt import Budget, Seen, bands, made_up
from studies.edges.nets import Arm, moved, settle
from studies.edges.paths import paths_of

SIDE, LAYERS = 16, 6
"""Pixels on a side and convolutions of the small nets on digits."""

ARMS = (
    Arm("circular", "average"),
    Arm("zeros", "average"),
    Arm("zeros", "flatten"),
    Arm("valid", "average"),
    Arm("valid", "flatten"),
)


def digits(options: Options, budget: Budget) -> dict[str, Any]:
    """Small nets trained on digits of which no place of the image shows more than another."""
    material = load_digits()
    arms = []
    for arm in ARMS:
        options.tell(f"digits anywhere: {arm.padding}, {arm.end}")
        arms.append(_arm(arm, material, budget, options.seed))
    shares = [arm["made_up"] for arm in arms if arm["made_up"] is not None]
    rows = [
        [
            arm["padding"],
            arm["end"],
            arm["accuracy"],
            *(
                arm[key][place]
                for place in ("over_edge", "over_corner")
                for key in ("roots", "before", "after")
            ),
        ]
        for arm in arms
    ]
    header = [
        "padding",
        "end",
        "accuracy (%)",
        "edge: expected",
        "random weights",
        "trained",
        "corner: expected",
        "random weights",
        "trained",
    ]
    return {
        "side": SIDE,
        "layers": LAYERS,
        "digit": material.test.shape[-1],
        "seeds": budget.seeds,
        "steps": budget.steps,
        "tested": len(material.test),
        "arms": arms,
        "least": min(shares),
        "most": max(shares),
        "by": {f"{arm['padding']}_{arm['end']}": arm for arm in arms},
        "table": {"header": header, "rows": rows},
    }


def _arm(arm: Arm, digits: Labelled, budget: Budget, seed: int) -> dict[str, Any]:
    """One net, trained with several seeds."""
    paths = paths_of(arm.net(SIDE, LAYERS), (1, SIDE, SIDE))
    draw = drawn_from(digits.train, digits.train_classes, canvas)
    before, after, right = [], [], []
    for number in range(seed, seed + budget.seeds):
        with drawing(number) as generator:
            test = canvas(digits.test, generator)
            shown = test[: 2 * budget.images]
            net = arm.net(SIDE, LAYERS)
            settle(net, test)
            before.append(Seen.of(net, shown, np.sqrt(paths), number))
            fit(net, draw, budget.steps, generator)
            after.append(Seen.of(net, shown, np.sqrt(paths), number))
            right.append(accuracy(net, test, digits.test_classes))
    start, end = Seen.joined(before).numbers(), Seen.joined(after).numbers()
    return {
        "padding": arm.padding,
        "end": arm.end,
        "accuracy": significant(float(np.mean(right))),
        "paths": bands(paths),
        "roots": bands(np.sqrt(paths)),
        "before": start,
        "after": end,
        "made_up": None if arm.padding == "circular" else made_up(start, end),
    }


def canvas(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Digits anywhere on black images; what leaves on one side comes in on the other."""
    wide = digits.new_zeros(len(digits), 1, SIDE, SIDE)
    wide[..., : digits.shape[-2], : digits.shape[-1]] = digits
    return moved(wide, generator)
