"""The rewiring family: new connections by nearness, by gradient, by both or not at all."""

from __future__ import annotations

from typing import Any

from placewise.layers.proximity import Proximity
from studies._findings import Measured, significant
from studies.proximity.arms import (
    BEST,
    EVERY,
    RANDOM,
    REACHES,
    fixed,
    rewired,
    told,
)
from studies.proximity.numbers import Outcomes, hundredths
from studies.proximity.runs import SIDE

RULES = {
    "fixed": [*(fixed(reach).name for reach in REACHES[:-1]), RANDOM.name],
    "γ = 0": [rewired(reach, 0.0).name for reach in REACHES],
    "γ = 1": [*(rewired(reach, 1.0).name for reach in REACHES[:-1]), BEST.name],
}
"""Rule -> its arms, from local to anywhere."""

Cells = dict[str, list[Measured]]


def cells(found: Outcomes, main: Outcomes, seeds: int) -> Cells:
    """Rule -> percent right at each reach, over the same seeds everywhere.

    Args:
        found: the arms that only the family has.
        main: the arms that it shares with the main contest.
        seeds: of the family.
    """
    percent = {name: one.percent[:seeds] for name, one in {**main, **found}.items()}
    return {rule: [Measured.of(percent[name]) for name in names] for rule, names in RULES.items()}


def family(found: Cells, seeds: int) -> dict[str, Any]:
    """What the page tells of the family."""
    header = ["connections", *(f"λ = {told(reach)}" for reach in REACHES)]
    anywhere = {rule: row[-1].values for rule, row in found.items()}
    gains = {
        rule: [hundredths(Measured.of(one.values, minus=anywhere[rule])) for one in row[:-1]]
        for rule, row in found.items()
    }
    return {
        "seeds": seeds,
        "table": {
            "header": header,
            "rows": [
                [rule, *(hundredths(one)["said"] for one in row)] for rule, row in found.items()
            ],
        },
        "gains": {
            "header": header[:-1],
            "rows": [[rule, *(gain["said"] for gain in row)] for rule, row in gains.items()],
        },
    }


def dense_share(multiply_adds: int) -> float:
    """Percent by which gradients of all candidates raise the multiply-adds of a training.

    One product of all units and all inputs for each image of a step that rewires, beside three
    times the multiply-adds of an answer in every step.

    Args:
        multiply_adds: of the net, for one image.
    """
    layers = [
        module for module in BEST.build(1, SIDE, 0).modules() if isinstance(module, Proximity)
    ]
    candidates = sum(layer.outputs.units * layer.inputs.units for layer in layers)
    return significant(100 * candidates / EVERY / (3 * multiply_adds))
