"""Residual nets with published weights, on real images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from placewise.geometry import FloatArray
from studies import Options
from studies._findings import significant
from studies._material import CifarResNet, load_cifar, load_resnet, missing_resnets
from studies._training import accuracy, drawing
from studies.edges.felt import Budget, Seen, bands, made_up
from studies.edges.nets import moved, settle
from studies.edges.paths import paths_of

TESTED = 1000
"""Images that the nets are to name."""


def residual(options: Options, budget: Budget) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Trained residual nets on real images, beside nets that have learnt nothing.

    Returns:
        Numbers, and the maps of the first net for the figure: none where its weights are missing.
    """
    missing = missing_resnets(options.data)
    if missing or options.data is None:
        return {"there": False, "missing": missing}, {}
    cifar = load_cifar(options.data)
    with drawing(options.seed) as generator:
        images = cifar.test[: budget.images]
        rolled = moved(images, generator)
    nets: list[dict[str, Any]] = []
    maps: dict[str, FloatArray] = {}
    for depth in budget.depths:
        options.tell(f"residual net of {depth} layers")
        net = load_resnet(options.data, depth)
        roots = np.sqrt(paths_of(net, (3, 32, 32)))
        seen = _seen(net, depth, (images, rolled), roots, options.seed, budget.untrained)
        maps = maps or {"paths": roots, **{name: one.map for name, one in seen.items()}}
        right = accuracy(net, cifar.test[:TESTED], cifar.test_classes[:TESTED])
        nets.append({"name": f"ResNet-{depth}", **_numbers(roots, seen, right)})
    return {
        "there": True,
        "data": "CIFAR-10",
        "images": len(images),
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


def _seen(
    net: nn.Module,
    depth: int,
    images: tuple[Tensor, Tensor],
    roots: FloatArray,
    seed: int,
    untrained: int,
) -> dict[str, Seen]:
    """The trained net on images and on moved images, and nets with random weights on these."""
    plain, rolled = images
    fresh = [_untrained(depth, rolled, roots, seed + number) for number in range(untrained)]
    return {
        "untrained": Seen.joined(fresh),
        "trained": Seen.of(net, plain, roots, seed),
        "moved": Seen.of(net, rolled, roots, seed),
    }


def _numbers(roots: FloatArray, seen: dict[str, Seen], right: float) -> dict[str, Any]:
    numbers = {name: one.numbers() for name, one in seen.items()}
    return {
        "accuracy": significant(right),
        "below_half": significant(100 * float((roots**2 < 0.5).mean())),
        "made_up": made_up(numbers["untrained"], numbers["moved"]),
        "paths": bands(roots**2),
        "roots": bands(roots),
        **numbers,
    }


def _untrained(depth: int, images: Tensor, roots: FloatArray, seed: int) -> Seen:
    with drawing(seed):
        net = CifarResNet(depth)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    settle(net, images)
    return Seen.of(net, images, roots, seed)


def _residual_table(nets: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    columns = ("paths", "roots", "untrained", "trained", "moved")
    header = [
        "network",
        "accuracy (%)",
        "paths",
        "roots of the path counts",
        "random weights",
        "trained",
        "trained, images moved",
    ]
    rows = [[n["name"], n["accuracy"], *(n[c][key] for c in columns)] for n in nets]
    return {"header": header, "rows": rows}


def _rank_table(nets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = ("untrained", "trained", "moved")
    header = ["network", "random weights", "trained", "trained, images moved"]
    return {"header": header, "rows": [[n["name"], *(n[c]["rank"] for c in columns)] for n in nets]}
