"""Slow twins of the walks of a graph: on whole grids, of which nothing is kept once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from placewise.graph import Graph
from placewise.ops import Algebra, Grid


def forward(graph: Graph, start: Grid, algebra: Algebra, fill: object) -> list[Grid]:
    """The numbers of each node, from those of the image."""
    grids = [start]
    for node in graph.nodes[1:]:
        grid = algebra.filled(node.layout.grid)
        for edge in node.edges:
            read = edge.operator.forward(grids[edge.source], algebra, fill)
            grid = algebra.join(grid, read)
        grids.append(grid)
    return grids


def backward(graph: Graph, seeds: Mapping[int, Grid], algebra: Algebra) -> list[Grid | None]:
    """The numbers of each node, from those of some nodes; None for a node that none reach."""
    grids: list[Grid | None] = [None] * len(graph.nodes)
    for number in range(len(graph.nodes) - 1, -1, -1):
        grid = grids[number] = _joined(grids[number], seeds.get(number), algebra)
        if grid is not None:
            for edge in graph.nodes[number].edges:
                back = edge.operator.adjoint(grid, algebra)
                grids[edge.source] = _joined(grids[edge.source], back, algebra)
    return grids


def _joined(first: Grid | None, second: Grid | None, algebra: Algebra) -> Grid | None:
    if first is None or second is None:
        found = second if first is None else first  # arithmetic makes numbers of grids of no axis
        return None if found is None else np.asarray(found, dtype=algebra.dtype)
    return np.asarray(algebra.join(first, second), dtype=algebra.dtype)
