"""An object on the left and on the right: are the activations alike, are the answers?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.heads import HEADS
from studies import Options
from studies._findings import Measured, tenth
from studies._material import Labelled
from studies._training import Draw, accuracy, body, drawing, drawn_from, fit

HEADS_COMPARED = ("flatten", "convolutional")
TRAINED = ("left only", "both sides")

WIDTH, POOL = 8, 4
"""Channels of the body, and cells of its map that the last pooling joins along each axis."""


def on_side(digits: Tensor, right: Tensor) -> Tensor:
    """Digits on one half of an image that is twice as wide.

    Args:
        digits: (n, 1, side, side).
        right: (n,) whether it stands on the right.

    Example:
        >>> on_side(torch.ones(1, 1, 1, 1), torch.tensor([True])).tolist()
        [[[[0.0, 1.0]]]]
    """
    blank = torch.zeros_like(digits)
    there = right.view(-1, 1, 1, 1)
    return torch.cat((torch.where(there, blank, digits), torch.where(there, digits, blank)), 3)


def alike(first: Tensor, second: Tensor) -> float:
    """Mean cosine of pairs of vectors, after their mean over all images is taken away.

    Example:
        >>> round(alike(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [7.0]])), 3)
        1.0
    """
    first, second = (maps.flatten(1) - maps.flatten(1).mean(0) for maps in (first, second))
    return float(functional.cosine_similarity(first, second).mean())


def sides(digits: Labelled, options: Options, seeds: int, steps: int) -> dict[str, Any]:
    """Nets trained with digits on the left only or on both sides, and tested on each."""
    found = {
        f"{head}, {trained}": _trained(head, trained, digits, options, seeds, steps)
        for head in HEADS_COMPARED
        for trained in TRAINED
    }
    keys = ("left", "right", "same", "as_they_stand", "averaged")
    rows = [[name, *(arm[key]["said"] for key in keys)] for name, arm in found.items()]
    header = [
        "head, trained on",
        "accuracy on the left (%)",
        "accuracy on the right (%)",
        "same prediction (%)",
        "maps similar, place by place (%)",
        "maps similar, averaged (%)",
    ]
    named = {name.replace(", ", "_").replace(" ", "_"): arm for name, arm in found.items()}
    return {"by": named, "table": {"header": header, "rows": rows}}


def _trained(
    head: str, trained: str, digits: Labelled, options: Options, seeds: int, steps: int
) -> dict[str, Any]:
    """One net, over the seeds."""
    runs = []
    for seed in range(options.seed, options.seed + seeds):
        options.tell(f"sides: {head}, {trained}, seed {seed}")
        with drawing(seed) as generator:
            trunk = nn.Sequential(body(1, WIDTH), nn.MaxPool2d(POOL))
            side = digits.train.shape[-1]
            member: Any = HEADS[head]
            net = nn.Sequential(trunk, member(WIDTH, 10, (side // POOL, 2 * side // POOL)))
            fit(net, _draw(digits, both=trained == "both sides"), steps, generator)
            runs.append(_compared(net, trunk, digits))
    return {key: Measured.of([run[key] for run in runs]).numbers() for key in runs[0]}


def _draw(digits: Labelled, *, both: bool) -> Draw:
    def placed(images: Tensor, generator: torch.Generator) -> Tensor:
        right = (torch.rand(len(images), generator=generator) < 0.5) & both
        return on_side(images, right)

    return drawn_from(digits.train, digits.train_classes, placed)


def _compared(net: nn.Module, trunk: nn.Module, digits: Labelled) -> dict[str, float]:
    """Percent right and equal predictions (%); likeness of the last maps in percent."""
    ends = (False, True)
    left, right = (on_side(digits.test, torch.full((len(digits.test),), end)) for end in ends)
    with torch.no_grad():
        maps = trunk(left), trunk(right)
        same = (net(left).argmax(1) == net(right).argmax(1)).double().mean()
    return {
        "left": accuracy(net, left, digits.test_classes),
        "right": accuracy(net, right, digits.test_classes),
        "same": 100 * float(same),
        "as_they_stand": tenth(100 * alike(*maps)),
        "averaged": tenth(100 * alike(*(each.mean((2, 3)) for each in maps))),
    }
