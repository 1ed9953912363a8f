"""Residual nets with published weights, on real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from placewise.geometry import FloatArray
from placewise.studies import Plan
from placewise.studies._material import CifarResNet, load_cifar, load_resnet, missing_resnets
from placewise.studies.edges.felt import Budget, Seen, bands, made_up
from placewise.studies.edges.nets import accuracy, drawing, moved, settle
from placewise.studies.edges.ways import significant, ways_of

TESTED = 1000
"""Pictures that the nets are to name."""


def residual(plan: Plan, budget: Budget) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Trained residual nets on real pictures, beside nets that have learnt nothing.

    Returns:
        Numbers, and the maps of the first net for the figure: none where its weights are missing.
    """
    missing = missing_resnets(plan.data)
    if missing or plan.data is None:
        return {"there": False, "missing": missing}, {}
    cifar = load_cifar(plan.data)
    with drawing(plan.seed) as generator:
        pictures = cifar.test[: budget.pictures]
        rolled = moved(pictures, generator)
    nets: list[dict[str, Any]] = []
    maps: dict[str, FloatArray] = {}
    for depth in budget.depths:
        plan.tell(f"residual net of {depth} layers")
        net = load_resnet(plan.data, depth)
        ways = ways_of(net, (3, 32, 32))
        roots = np.sqrt(ways)
        fresh = [_untrained(depth, rolled, roots, plan.seed + n) for n in range(budget.untrained)]
        seen = {
            "untrained": Seen.joined(fresh),
            "trained": Seen.of(net, pictures, roots, plan.seed),
            "moved": Seen.of(net, rolled, roots, plan.seed),
        }
        maps = maps or {"ways": roots, **{name: one.map for name, one in seen.items()}}
        numbers = {"ways": bands(ways), "roots": bands(roots)}
        numbers |= {name: one.numbers() for name, one in seen.items()}
        least = significant(100 * float((ways < 0.5).mean()))
        right = significant(accuracy(net, cifar.test[:TESTED], cifar.test_classes[:TESTED]))
        name = f"ResNet-{depth}"
        share = made_up(numbers["untrained"], numbers["moved"])
        facts = {"name": name, "accuracy": right, "below_half": least, "made_up": share}
        nets.append({**facts, **numbers})
    return {
        "there": True,
        "data": "CIFAR-10",
        "pictures": len(pictures),
        "untrained": budget.untrained,
        "tested": TESTED,
        "least": min(net["made_up"] for net in nets),
        "most": max(net["made_up"] for net in nets),
        "first": nets[0],
        "nets": nets,
        "edges": _residual_table(nets, "over_edge"),
        "corners": _residual_table(nets, "over_corner"),
        "ranks": _rank_table(nets),
    }, maps


def _untrained(depth: int, pictures: Tensor, roots: FloatArray, seed: int) -> Seen:
    with drawing(seed):
        net = CifarResNet(depth)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    settle(net, pictures)
    return Seen.of(net, pictures, roots, seed)


def _residual_table(nets: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    columns = ("ways", "roots", "untrained", "trained", "moved")
    header = [
        "net",
        "right (%)",
        "ways",
        "roots of the ways",
        "random weights",
        "trained",
        "trained, pictures moved",
    ]
    rows = [[n["name"], n["accuracy"], *(n[c][key] for c in columns)] for n in nets]
    return {"header": header, "rows": rows}


def _rank_table(nets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = ("untrained", "trained", "moved")
    header = ["net", "random weights", "trained", "trained, pictures moved"]
    return {"header": header, "rows": [[n["name"], *(n[c]["rank"] for c in columns)] for n in nets]}
