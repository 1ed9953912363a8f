"""Would connecting what is near be fundamentally better than flattening? Arms of one cost, run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from placewise.statistics import detectable_effect
from studies import Findings, Options, Scale, Study
from studies._findings import Measured
from studies.proximity import figures
from studies.proximity.arms import (
    DEEP,
    EVERY,
    FAMILY,
    LOCAL,
    MAIN,
    PIXELS,
    SHARE,
    UNTIL,
    WIDENED,
)
from studies.proximity.claims import claims
from studies.proximity.growing import cells, dense_share, family
from studies.proximity.numbers import ROPE, Outcomes, against, hundredths, told
from studies.proximity.runs import BATCH, RATES, SIDE, VALIDATION, Contest, hold

DIGITS, MNIST, CIFAR = "digits", "MNIST", "CIFAR-10 subset"
SETS = {DIGITS: "digits", MNIST: "mnist", CIFAR: "cifar10_subset"}
"""Name of each data set to its folder."""

BARE = "MNIST, no convolution"

SHIFT, RATE = 2, 6e-3
"""Pixels by which images are moved for the deep net, and its learning rate."""


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        seeds: of the arms that are compared.
        few: seeds of photographs, of nets without a convolution, and of the rewiring family.
        steps: of training on each data set.
        deep: seeds of the deep net.
        deep_steps: of its training.
    """

    seeds: int
    few: int
    steps: Mapping[str, int]
    deep: int = 0
    deep_steps: int = 0


BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(2, 2, {DIGITS: 2}),
    "small": Budget(8, 5, {DIGITS: 300}),
    "full": Budget(20, 5, {DIGITS: 300, MNIST: 1000, CIFAR: 250}, 1, 6000),
}


class Proximity(Study):
    """Local wiring against random, permuted, chosen and full wiring, at one cost."""

    def run(self, options: Options) -> Findings:
        """Hold the contests, judge the claims, draw the figures."""
        budget = BUDGETS[options.scale]
        effect = f"{detectable_effect(budget.seeds):.2f}"
        options.tell(
            f"{budget.seeds} seeds find differences of {effect} standard deviations of the paired "
            "difference, or more, in 80 of 100 cases"
        )
        names = [name for name in budget.steps if name == DIGITS or options.data is not None]
        held: dict[str, Outcomes] = {name: hold(_main(name, budget), options) for name in names}
        widest = MNIST if MNIST in names else DIGITS
        grown = hold(_family(widest, budget), options)
        found = cells(grown, held[widest], budget.few)
        if MNIST in names:
            held[BARE] = hold(_bare(budget), options)
        differences = {name: against(one, next(iter(one))) for name, one in held.items()}
        numbers = {
            **_terms(budget, effect),
            "data": MNIST in names,
            "sets": {_key(name): told(one, differences[name]) for name, one in held.items()},
            "family": {
                "data": widest,
                "extra": dense_share(held[widest][LOCAL.name].budget.multiply_adds),
                **family(found, budget.few),
            },
            "deep": _deep(budget, options) if MNIST in names else None,
            "claims": claims(held, differences),
        }
        drawn = {
            "differences": figures.differences(
                {name: one for name, one in differences.items() if name != BARE}, LOCAL.name
            ),
            "family": figures.family(found),
        }
        if BARE in held:
            drawn["bare"] = figures.differences({BARE: differences[BARE]}, PIXELS[0].name)
        return Findings(numbers, drawn)


def _main(name: str, budget: Budget) -> Contest:
    seeds = budget.few if name == CIFAR else budget.seeds
    arms = (*MAIN, WIDENED) if name == DIGITS else MAIN
    return Contest(SETS[name], SETS[name], arms, seeds, budget.steps[name])


def _family(name: str, budget: Budget) -> Contest:
    folder = f"{SETS[name]}-family"
    return Contest(folder, SETS[name], FAMILY, budget.few, budget.steps[name])


def _bare(budget: Budget) -> Contest:
    return Contest("pixels", SETS[MNIST], PIXELS, budget.few, budget.steps[MNIST])


def _deep(budget: Budget, options: Options) -> dict[str, Any]:
    """How far the local head comes on MNIST with a trunk of a usual depth and width."""
    name, seeds, steps = SETS[MNIST], budget.deep, budget.deep_steps
    contest = Contest("deep", name, (DEEP,), seeds, steps, SHIFT, rates=(RATE,))
    (found,) = hold(contest, options).values()
    return {
        **asdict(found.budget),
        "widths": ", ".join(map(str, DEEP.widths)),
        "rate": RATE,
        "shift": SHIFT,
        "right": hundredths(Measured.of(found.percent)),
        "by_seed": [round(value, 2) for value in found.percent],
    }


def _terms(budget: Budget, effect: str) -> dict[str, Any]:
    """What was agreed before anything was run."""
    return {
        "budget": asdict(budget),
        "effect": effect,
        "side": SIDE,
        "batch": BATCH,
        "rates": ", ".join(f"{rate:g}" for rate in RATES),
        "trials": len(RATES),
        "validation": VALIDATION,
        "rope": 100 * ROPE,
        "rewiring": {
            "every": EVERY,
            "share": 100 * SHARE,
            "until": 100 * UNTIL,
            "law": "exp(−(d/λ)²)",
            "none": 0,
            "whole": 1,
        },
        "photographs": "CIFAR-10",
    }


def _key(name: str) -> str:
    """A data set as a path of numbers takes it."""
    return {BARE: "bare", CIFAR: "cifar"}.get(name, name.lower())
