"""How much the output changes with each place of the image, beside what the paths let expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from torch import Tensor, nn

from placewise.auditing.sensitivity import compare, gradient_sensitivity
from placewise.geometry import FloatArray
from studies._findings import significant


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        depths: which of the trained residual nets.
        images: that sensitivities are averaged over.
        untrained: residual nets with random weights.
        seeds: how often each small net is trained.
        steps: of training.
        recordings: of spoken digits; None: all.
    """

    depths: tuple[int, ...]
    images: int
    untrained: int
    seeds: int
    steps: int
    recordings: int | None


BUDGETS = {
    "tiny": Budget((20,), 4, 1, 1, 2, 60),
    "small": Budget((20, 32, 44, 56), 64, 3, 1, 500, None),
    "full": Budget((20, 32, 44, 56), 256, 5, 3, 2000, None),
}


def bands(values: FloatArray, border: int = 1) -> dict[str, Any]:
    """A map's middle over its edge and its corners, and its rings relative to the middle.

    The middle is what lies a fourth of the side or more from the border, the edge the outermost
    ring of `border` cells; all are means.

    Example:
        >>> bands(np.array([1.0, 2.0, 2.0, 1.0]))["over_edge"]
        2.0
    """
    places = [np.arange(n) for n in values.shape]
    axes = [np.minimum(p, p[::-1]) for p in places]
    grids = np.meshgrid(*axes, indexing="ij")
    distance, farthest = np.min(grids, axis=0), np.max(grids, axis=0)
    middle = values[distance >= min(values.shape) // 4].mean()
    rings = [values[distance == d].mean() / middle for d in range(int(distance.max()) + 1)]
    return {
        "over_edge": significant(middle / values[distance < border].mean()),
        "over_corner": significant(middle / values[farthest < border].mean()),
        "rings": [significant(ring) for ring in rings] if values.ndim > 1 else [],
    }


@dataclass(frozen=True)
class Seen:
    """A net's sensitivity by place beside what its wiring lets expect.

    Attributes:
        map: sensitivity, 1 on average.
        rank: Spearman's rank correlation with the roots of the path counts; NaN where these are
            all equal.
    """

    map: FloatArray
    rank: float

    @classmethod
    def of(cls, net: nn.Module, images: Tensor, roots: FloatArray, seed: int) -> Seen:
        """Measure a net on images."""
        found = gradient_sensitivity(net, images, projections=2, seed=seed, batch_size=32)
        return cls(found.map / found.map.mean(), compare(found, roots).spearman)

    @classmethod
    def joined(cls, several: Sequence[Seen]) -> Seen:
        """Mean of the maps, mean of the ranks."""
        maps: FloatArray = np.mean([one.map for one in several], axis=0)
        return cls(maps, float(np.mean([one.rank for one in several])))

    def numbers(self, border: int = 1) -> dict[str, Any]:
        """Its bands and its rank."""
        rank = None if np.isnan(self.rank) else significant(self.rank)
        return {**bands(self.map, border), "rank": rank}


def made_up(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Percent of the logarithm of the ratio of middle and edge that training has taken away.

    Example:
        >>> made_up({"over_edge": 9.0}, {"over_edge": 3.0})
        50.0
    """
    return significant(100 * (1 - log(after["over_edge"]) / log(before["over_edge"])))
