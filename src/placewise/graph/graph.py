"""A network as a graph of relations between places, to be walked both ways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placewise.ops import Algebra, Edge, Grid, Layout, Status


@dataclass(frozen=True)
class Node:
    """One tensor that depends on the image.

    Attributes:
        name: of its own in the graph.
        op: operation of ATen that makes it; "image" for the image, "write" for a tensor of
            which a part was written to.
        role: what the operation does to place.
        module: dotted path of the submodule that runs it.
        layout: where its places are.
        edges: what it reads.
        status: whether that is all that it reads and no more.
        global_statistics: whether it reads the mean and the variance of all places besides.
        note: why the status is what it is, where a rule could not be applied.
    """

    name: str
    op: str
    role: str
    module: str
    layout: Layout
    edges: tuple[Edge, ...]
    status: Status
    global_statistics: bool = False
    note: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they run; node 0 is the image.

    Attributes:
        nodes: see `Node`.
        outputs: numbers of the nodes that the network gives.
        capture: how it was found: "export" or "recorded".
        unknown: how often operations occur that the table does not hold.
        why: what stood in the way of a better capture.
        channels: whether channels are told apart, not only places.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    capture: str
    unknown: Mapping[str, int]
    why: str = ""
    channels: bool = False

    @cached_property
    def unit(self) -> int:
        """A number whose multiples stay whole all the way through the graph, forwards or back.

        It is 1 but where places are multiplied by fractions (partial convolutions): counts that
        begin with it stay integers, which are many times quicker than fractions.
        """
        units = [1]
        for node in self.nodes[1:]:
            units.append(math.lcm(*(units[e.source] * e.operator.unit for e in node.edges)))
        return math.lcm(*units)

    def backward(self, seeds: Mapping[int, Grid], algebra: Algebra) -> list[Grid | None]:
        """Carry numbers from some nodes back to all that they read, the image last.

        Args:
            seeds: numbers to begin with, by node.
            algebra: of the numbers.

        Returns:
            The numbers of each node; None where none arrive.

        Example:
            >>> import numpy as np
            >>> from torch import nn
            >>> from placewise.graph import capture
            >>> from placewise.ops import COUNTS
            >>> graph = capture(nn.Conv1d(1, 1, 3), (1, 5))
            >>> ways = graph.backward({1: COUNTS.filled((1, 1, 3), 1)}, COUNTS)
            >>> ways[0].ravel().tolist()
            [1, 2, 3, 2, 1]
        """
        grids: list[Grid | None] = [None] * len(self.nodes)
        for number in range(len(self.nodes) - 1, -1, -1):
            grid = _join(grids[number], seeds.get(number), algebra)
            grids[number] = grid
            if grid is None:
                continue
            for edge in self.nodes[number].edges:
                back = edge.operator.adjoint(grid, algebra)
                grids[edge.source] = _join(grids[edge.source], back, algebra)
        return grids

    def forward(self, start: Grid, algebra: Algebra, fill: object = None) -> list[Grid]:
        """Carry numbers from the image on to all nodes.

        Args:
            start: numbers of the image's places.
            algebra: of the numbers.
            fill: number of each place that zero padding adds; zero unless told.
        """
        grids: list[Grid] = [start]
        for node in self.nodes[1:]:
            grid: Grid | None = None
            for edge in node.edges:
                read = edge.operator.forward(grids[edge.source], algebra, fill)
                grid = _join(grid, read, algebra)
            grids.append(algebra.filled(node.layout.grid) if grid is None else grid)
        return grids


def _join(first: Grid | None, second: Grid | None, algebra: Algebra) -> Grid | None:
    if first is None or second is None:
        return second if first is None else first
    return np.asarray(algebra.join(first, second), dtype=algebra.dtype)
