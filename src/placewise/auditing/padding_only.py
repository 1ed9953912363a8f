"""Places of the output that read nothing but padding: what is there, the image cannot change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from placewise.auditing._numbers import plain, rounded
from placewise.graph import Graph
from placewise.ops import EXISTS, Grid, Packed, refined


@dataclass(frozen=True, eq=False)
class PaddingOnly:
    """The places of one map that read nothing but padding.

    Attributes:
        node: number of the map's node.
        layer: its submodule, or its own name.
        packed: whether a place is such a one, over the image's axes, with equal rows kept once.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> found = padding_only(capture(nn.Conv1d(1, 1, 2, padding=3), (1, 8)))[0]
        >>> found.count, found.places, found.whole
        (4, 13, ((0, 1, 11, 12),))
    """

    node: int
    layer: str
    packed: Packed

    @property
    def count(self) -> int:
        """How many they are."""
        return int(self.packed.total)

    @property
    def places(self) -> int:
        """How many places the map has."""
        return math.prod(self.packed.shape)

    @property
    def mask(self) -> Grid:
        """Whether each place is such a one."""
        return self.packed.whole()

    @cached_property
    def whole(self) -> tuple[tuple[int, ...], ...]:
        """For each axis the indices at which all places are: rows, then columns of an image."""
        core, found = self.packed.core, []
        for axis, index in enumerate(self.packed.index):
            rest = tuple(other for other in range(core.ndim) if other != axis)
            kinds = np.asarray(core.all(axis=rest))
            found.append(tuple(np.flatnonzero(kinds if index is None else kinds[index]).tolist()))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "node": self.node,
            "layer": self.layer,
            "count": self.count,
            "places": self.places,
            "share": rounded(self.count / self.places),
            "whole": plain(self.whole),
        }


def padding_only(graph: Graph) -> tuple[PaddingOnly, ...]:
    """Find the places that read padding and no pixel, of each output that is a map.

    Where no output is a map, those of the last feature map. What a normalisation takes its mean and
    variance from counts as read.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 2, padding=3), nn.GroupNorm(1, 1))
        >>> padding_only(capture(net, (1, 8)))[0].count
        0
    """
    image = graph.nodes[0].layout.grid
    pixels, nothing = Packed.filled(image, EXISTS, True), Packed.filled(image, EXISTS)
    read = graph.forward(pixels, EXISTS, statistics=True)
    padded = graph.forward(nothing, EXISTS, True)
    found = []
    for number in [n for n in graph.outputs if n in graph.maps] or [graph.last_map]:
        grids = [
            Packed.filled(image, EXISTS) if g is None else g for g in (read[number], padded[number])
        ]
        seen, filled = (graph.over_image(grid, number) for grid in grids)
        cores, index = refined(seen, filled)
        found.append(PaddingOnly(number, graph.label(number), Packed(~cores[0] & cores[1], index)))
    return tuple(found)
