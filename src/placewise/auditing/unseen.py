"""Pixels that no output reads, and activations that nothing reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.auditing._numbers import Finding, block_lists, plain
from placewise.graph import OUTPUT, Graph
from placewise.ops import EXISTS, Grid, Packed


@dataclass(frozen=True)
class Unread(Finding):
    """Activations of one node that no output reads.

    Attributes:
        node: number of the node.
        layer: its submodule, or its own name.
        op: its operation.
        places: number of its places.
        unread: number of these that no output reads; all of them if the node leads nowhere.
    """

    node: int
    layer: str
    op: str
    places: int
    unread: int

    @property
    def share(self) -> float:
        """Share of its places that is not read."""
        return self.unread / self.places


@dataclass(frozen=True, eq=False)
class Unseen:
    """Pixels that no output reads.

    Attributes:
        mask: (*image) true if no output reads the pixel, in any of its channels.
        layers: nodes some of whose activations lead to an output and others do not, in the order
            of the graph.
        idle: nodes that lead to no output.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> found = unseen(capture(nn.Conv2d(3, 1, 4, stride=4), (3, 9, 8)))
        >>> found.pixels, found.rows, found.columns
        (8, (8,), ())
    """

    mask: Grid
    layers: tuple[Unread, ...]
    idle: tuple[Unread, ...]

    @property
    def pixels(self) -> int:
        """Number of unseen pixels."""
        return int(self.mask.sum())

    @property
    def whole(self) -> tuple[tuple[int, ...], ...]:
        """For each axis the indices at which no pixel is read: rows, then columns of an image."""
        axes = range(self.mask.ndim)
        others = [tuple(other for other in axes if other != axis) for axis in axes]
        return tuple(tuple(np.flatnonzero(self.mask.all(axis=rest)).tolist()) for rest in others)

    @property
    def rows(self) -> tuple[int, ...]:
        """Unseen rows, of the last axis but one; none in a signal."""
        return self.whole[-2] if self.mask.ndim > 1 else ()

    @property
    def columns(self) -> tuple[int, ...]:
        """Unseen columns, of the last axis."""
        return self.whole[-1]

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it; for the mask, the share of each block that is unseen."""
        return {
            "pixels": self.pixels,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "whole": plain(self.whole),
            "layers": plain(self.layers),
            "idle": plain(self.idle),
            "mask": block_lists(self.mask),
        }


def unseen(graph: Graph) -> Unseen:
    """Find what no output reads, with one pass back through the network.

    What a normalisation takes its mean and variance from is read, though no path counts it.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1, stride=2))
        >>> [(layer.layer, layer.share) for layer in unseen(capture(net, (1, 8, 8))).layers]
        [('0', 0.75)]
    """
    seen_by = {n for n in graph.ancestors(graph.find(OUTPUT)) if graph.nodes[n].global_statistics}
    whole = {edge.source for number in seen_by for edge in graph.nodes[number].edges[:1]}
    seeds = {n: graph.ones(n, EXISTS) for n in {*graph.find(OUTPUT), *whole}}
    layers: list[Unread] = []
    idle: list[Unread] = []
    seen = Packed.filled(graph.nodes[0].layout.grid, EXISTS)
    for number, grid in graph.backward(seeds, EXISTS):
        node = graph.nodes[number]
        places = math.prod(node.layout.grid)
        read = 0 if grid is None else int(grid.total)
        if not number:
            seen = seen if grid is None else grid
        elif read < places:
            one = Unread(number, graph.label(number), node.op, places, places - read)
            (layers if read else idle).insert(0, one)
    return Unseen(~seen.summed((0, 1)).whole(), tuple(layers), tuple(idle))
