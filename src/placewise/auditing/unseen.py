"""Pixels that no output can see, and activations that nothing reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.auditing._structure import label, outputs, seeds, shares
from placewise.graph import Graph
from placewise.ops import EXISTS, Grid


@dataclass(frozen=True)
class Unread:
    """Activations of one node that no output reads.

    Attributes:
        node: its number in the graph.
        layer: its submodule, or its own name.
        op: its operation.
        places: of the node.
        unread: of these, how many no output reads; all of them where the node leads nowhere.
    """

    node: int
    layer: str
    op: str
    places: int
    unread: int

    @property
    def share(self) -> float:
        """Of its places, the part that is not read."""
        return self.unread / self.places

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "node": self.node,
            "layer": self.layer,
            "op": self.op,
            "places": self.places,
            "unread": self.unread,
        }


@dataclass(frozen=True, eq=False)
class Unseen:
    """Pixels that no output can see.

    Attributes:
        mask: (*image) true where a pixel is read by no output, in any of its channels.
        layers: nodes that lead to an output and of which some activations do not, in the order of
            the graph.
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
        """How many there are."""
        return int(self.mask.sum())

    @property
    def whole(self) -> tuple[tuple[int, ...], ...]:
        """For each axis the indices at which no pixel is seen: rows, then columns of an image."""
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
        """The finding as JSON can hold it; of the mask, the share of each block that is unseen."""
        return {
            "pixels": self.pixels,
            "rows": list(self.rows),
            "columns": list(self.columns),
            "whole": [list(indices) for indices in self.whole],
            "layers": [layer.to_dict() for layer in self.layers],
            "idle": [layer.to_dict() for layer in self.idle],
            "mask": shares(self.mask),
        }


def unseen(graph: Graph) -> Unseen:
    """Find what no output reads: one pass back through the network.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1, stride=2))
        >>> [(layer.layer, layer.share) for layer in unseen(capture(net, (1, 8, 8))).layers]
        [('0', 0.75)]
    """
    grids = graph.backward({n: seeds(graph, n, EXISTS) for n in outputs(graph)}, EXISTS)
    seen = EXISTS.filled(graph.nodes[0].layout.grid) if grids[0] is None else grids[0]
    layers: list[Unread] = []
    idle: list[Unread] = []
    for number, grid in enumerate(grids[1:], 1):
        places = int(np.prod(graph.nodes[number].layout.grid))
        read = 0 if grid is None else int(grid.sum())
        if read < places:
            node = graph.nodes[number]
            one = Unread(number, label(graph, number), node.op, places, places - read)
            (layers if read else idle).append(one)
    return Unseen(np.asarray(~seen.any(axis=(0, 1))), tuple(layers), tuple(idle))
