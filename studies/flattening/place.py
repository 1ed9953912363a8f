"""What each head makes of place: accuracy, and what is left of it in a fixed random order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from placewise.heads import HEADS
from studies import Options
from studies._findings import Measured
from studies._material import Labelled
from studies._training import accuracy, body, drawing, drawn_from, fit
from studies.flattening.order import reordered

Where = Literal["nowhere", "map", "image"]

NAMES = ("flatten", "sheet", "proximity", "palm_tree", "low_rank", "convolutional")

WIDTH = 8
"""Channels of the body."""


class Reorder(nn.Module):
    """One fixed order of the places of a map, the same for all channels.

    Args:
        taken: (places,) place that each is taken from.

    Example:
        >>> Reorder(torch.tensor([1, 0]))(torch.tensor([[[3.0, 4.0]]])).tolist()
        [[[4.0, 3.0]]]
    """

    def __init__(self, taken: Tensor) -> None:
        super().__init__()
        self.taken = taken

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, *space), reordered."""
        return reordered(maps, self.taken)


@dataclass(frozen=True)
class Used:
    """What a head makes of place.

    Attributes:
        right: percent right with all places where they are.
        index: by where the order is changed, percent right minus percent right then.
    """

    right: Measured
    index: dict[str, Measured]


def net(head: str, where: Where, side: int, taken: Tensor) -> nn.Sequential:
    """Two convolutions and a head, with the order of the places changed somewhere.

    Example:
        >>> net("flatten", "map", 4, torch.arange(16))(torch.zeros(2, 1, 4, 4)).shape
        torch.Size([2, 10])
    """
    member: Any = HEADS[head]
    parts = {"body": body(1, WIDTH), "head": member(WIDTH, 10, (side, side))}
    order = Reorder(taken)
    if where == "image":
        return nn.Sequential(order, *parts.values())
    middle = [order] if where == "map" else []
    return nn.Sequential(parts["body"], *middle, parts["head"])


def place(digits: Labelled, options: Options, seeds: int, steps: int) -> dict[str, Used]:
    """The place-use index of each head, with the order changed in the map and in the image."""
    side = digits.train.shape[-1]
    draw = drawn_from(digits.train, digits.train_classes)
    found = {}
    for name in NAMES:
        right: dict[Where, list[float]] = {"nowhere": [], "map": [], "image": []}
        for seed in range(options.seed, options.seed + seeds):
            options.tell(f"place: {name}, seed {seed}")
            taken = torch.randperm(side**2, generator=torch.Generator().manual_seed(seed))
            for where, values in right.items():
                with drawing(seed) as generator:
                    trained = net(name, where, side, taken)
                    fit(trained, draw, steps, generator)
                    values.append(accuracy(trained, digits.test, digits.test_classes))
        plain = right["nowhere"]
        index = {where: Measured.of(plain, minus=right[where]) for where in ("map", "image")}
        found[name] = Used(Measured.of(plain), index)
    return found
