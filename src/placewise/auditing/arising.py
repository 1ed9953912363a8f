"""Where differences between pixels arise: the layer that adds most to a ratio of path counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from placewise.auditing._numbers import Finding
from placewise.auditing.paths import LayerPaths

RATIOS = {
    "max_over_corner": "the lead of the best-served pixel over the best corner",
    "corner_ratio": "the lead of the best corner over the worst",
}
"""Ratios of path counts, as `Paths` has them, and what they are in words."""

ALIKE = 1.05
"""Ratio below which two counts of paths are called alike, and nothing arises."""


@dataclass(frozen=True)
class Arising(Finding):
    """The layer that adds most to a ratio.

    Attributes:
        ratio: "max_over_corner" or "corner_ratio".
        node: number of the node that moves places: the window itself.
        after: number of the node of the layer before it, if others lie between them that were not
            counted; else None.
        before: the ratio of the paths to the layer before it; 1 for the image.
        reached: the ratio of the paths to this layer.
        share: of all that the ratio has above 1 at the last layer, the part that this one adds;
            None if the ratio is infinite.
    """

    ratio: str
    node: int
    after: int | None
    before: float
    reached: float
    share: float | None


def arising(layers: Sequence[LayerPaths], ratio: str) -> Arising | None:
    """Find the layer that adds most to a ratio of the paths; None if the ratio stays about 1.

    Args:
        layers: from the first to the last, see `paths_by_layer`.
        ratio: one of `RATIOS`.

    Example:
        >>> from torch import nn
        >>> from placewise.auditing.paths import paths_by_layer
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 9, padding=4))
        >>> found = arising(paths_by_layer(capture(net, (1, 32))), "max_over_corner")
        >>> found.node, found.before, round(found.reached, 2)
        (2, 1.5, 2.45)
    """
    values = [float(getattr(layer.paths, ratio)) for layer in layers]
    if not values or any(map(math.isnan, values)) or values[-1] < ALIKE:
        return None
    steps = list(zip([1.0, *values], values, strict=False))
    infinite = [place for place, (_, now) in enumerate(steps) if math.isinf(now)]
    place = infinite[0] if infinite else max(range(len(steps)), key=lambda n: _added(steps[n]))
    was, now = steps[place]
    depth = layers[place - 1].depth if place else 0
    jumped = layers[place].depth - depth > 1 and place > 0
    return Arising(
        ratio=ratio,
        node=layers[place].mover,
        after=layers[place - 1].node if jumped else None,
        before=was,
        reached=now,
        share=None if infinite else (now - was) / (values[-1] - 1),
    )


def _added(step: tuple[float, float]) -> float:
    return step[1] - step[0]
