"""Paths: how many ways lead from each pixel to what the network gives.

The number of ways from a pixel to a place is the derivative of that place by the pixel where every
weight is 1, every bias 0, every activation and normalisation the identity and every pooling the
sum over its window. It is what a pixel weighs before anything is learnt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from placewise.auditing._structure import (
    Target,
    image_sides,
    in_units,
    label,
    last_map,
    logarithms,
    map_dims,
    numbers_of,
    on_the_way,
    ratio,
    rounded,
    seeds,
    target_label,
)
from placewise.auditing._touches import touches
from placewise.graph import Graph
from placewise.ops import COUNTS, Grid
from placewise.ops.algebra import whole

__all__ = ["LayerPaths", "Paths", "count_paths", "last_map", "paths_by_layer", "without_gates"]

SPATIAL, CHANNEL_AWARE = "spatial", "channel-aware"


@dataclass(frozen=True, eq=False)
class Paths:
    """How many ways lead from each pixel to a target.

    Attributes:
        convention: "spatial": the channels of a tensor are one; "channel-aware": each is told
            apart, so that a convolution has as many ways as it has weights.
        target: what the ways lead to.
        counts: (*image) exact integers, fractions where a rule scales; channel-aware, the sum
            over the image's channels.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 2), nn.Conv1d(1, 1, 2))
        >>> paths = count_paths(capture(net, (1, 5)))
        >>> paths.counts.tolist(), paths.total, paths.corners, paths.max_over_corner
        ([1, 3, 4, 3, 1], 12, (1, 1), 4.0)
    """

    convention: str
    target: str
    counts: Grid

    @cached_property
    def _in_parts(self) -> tuple[Grid, int]:
        """The counts as integers, which are quick to add, and what 1 is in them."""
        unit = math.lcm(*{count.denominator for count in self.counts.flat})
        return self.counts if unit == 1 else whole(self.counts * unit), unit

    @cached_property
    def total(self) -> Any:
        """All ways from all pixels."""
        parts, unit = self._in_parts
        return in_units(parts.sum(keepdims=True), unit).item()

    @cached_property
    def maximum(self) -> Any:
        """The largest count of a pixel."""
        parts, unit = self._in_parts
        return in_units(parts.max(keepdims=True), unit).item()

    @property
    def centre(self) -> Any:
        """The count of the middle pixel, the later one where two are in the middle."""
        return self.counts[tuple(side // 2 for side in self.counts.shape)]

    @property
    def corners(self) -> tuple[Any, ...]:
        """The counts of the corners; of an image top left, top right, bottom left and right."""
        ends = itertools.product((0, -1), repeat=self.counts.ndim)
        return tuple(self.counts[end] for end in ends)

    @property
    def edges(self) -> tuple[tuple[Any, Any], ...]:
        """For each axis the counts of the middle pixels of its first and of its last side."""
        middle = [side // 2 for side in self.counts.shape]
        return tuple(
            (self.counts[(*middle[:axis], 0, *rest)], self.counts[(*middle[:axis], -1, *rest)])
            for axis in range(self.counts.ndim)
            for rest in [middle[axis + 1 :]]
        )

    @property
    def max_over_edge(self) -> tuple[tuple[float, float], ...]:
        """The largest count over those of `edges`; infinite where an edge has no way."""
        return tuple(
            (ratio(self.maximum, first), ratio(self.maximum, last)) for first, last in self.edges
        )

    @property
    def max_over_corner(self) -> float:
        """The largest count over that of the largest corner; infinite where no corner has a way."""
        return ratio(self.maximum, max(self.corners))

    @cached_property
    def asymmetry(self) -> tuple[float, ...]:
        """(a − b)/(a + b) for each axis, a the ways from its first half and b from its last.

        The middle row of an odd axis is in neither. 0 is even, 1 is all in the first half.
        """
        found = []
        parts, _ = self._in_parts
        for axis, side in enumerate(parts.shape):
            first = np.take(parts, range(side // 2), axis).sum()
            last = np.take(parts, range(side - side // 2, side), axis).sum()
            found.append(ratio(first - last, first + last))
        return tuple(found)

    @cached_property
    def gini(self) -> float:
        """Gini's coefficient: 0 where all pixels have equally many ways, near 1 where few have all.

        Σ (2i − n − 1)·xᵢ / (n·Σ x) over the n counts x in rising order, i from 1.
        """
        if not self.maximum:
            return 0.0
        parts, _ = self._in_parts
        values = np.sort((parts / parts.max()).astype(np.float64), axis=None)
        ranks = 2 * np.arange(1, len(values) + 1) - len(values) - 1
        return float(ranks @ values / (len(values) * values.sum()))

    @property
    def zeros(self) -> int:
        """How many pixels have no way."""
        return int((self.counts == 0).sum())

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it: counts as text, the map as log₁₀ of block means.

        What is infinite or not a number is None.
        """
        return {**self.numbers(), "log10_map": logarithms(*self._in_parts)}

    def numbers(self) -> dict[str, Any]:
        """The same without the map."""
        return {
            "convention": self.convention,
            "target": self.target,
            "total": str(self.total),
            "corners": [str(count) for count in self.corners],
            "centre": str(self.centre),
            "max": str(self.maximum),
            "edges": [[str(count) for count in pair] for pair in self.edges],
            "max_over_edge": [[rounded(r) for r in pair] for pair in self.max_over_edge],
            "max_over_corner": rounded(self.max_over_corner),
            "asymmetry": [rounded(a) for a in self.asymmetry],
            "gini": rounded(self.gini),
            "zeros": self.zeros,
        }


def count_paths(
    graph: Graph, target: Target = None, *, place: Sequence[int] | None = None
) -> Paths:
    """Count the ways from each pixel to a target, exactly.

    Args:
        graph: of the network; channel-aware if it was captured so.
        target: a node's number, name or submodule; "output" for all outputs together; the last
            feature map unless told, see `last_map`.
        place: one unit of the target, by its index for each axis of the image (all channels),
            or for each dimension of the node's grid; all units unless told.

    Raises:
        SettingsError: there is no such node or place.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> graph = capture(nn.Conv1d(1, 1, 3, padding=1), (1, 5))
        >>> count_paths(graph).counts.tolist(), count_paths(graph, place=(0,)).counts.tolist()
        ([2, 3, 3, 3, 2], [1, 1, 0, 0, 0])
    """
    numbers = numbers_of(graph, target)
    if place is not None:
        numbers = numbers[:1]
    start = {number: seeds(graph, number, COUNTS, place) for number in numbers}
    convention = CHANNEL_AWARE if graph.channels else SPATIAL
    return Paths(convention, target_label(graph, target), _counted(graph, start))


def without_gates(graph: Graph) -> Graph:
    """The network without what pooled or flattened features add to its maps.

    The gates of squeeze and excitation, and context that is pooled over the whole image, lead
    from every pixel to every place, in so many ways that they drown those through windows. Here a
    map that reads maps reads nothing else.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> class Gated(nn.Module):
        ...     def forward(self, x):
        ...         return x * x.mean(-1, keepdim=True)
        >>> graph = capture(Gated(), (1, 3))
        >>> [count_paths(g).counts.tolist() for g in (graph, without_gates(graph))]
        [[4, 4, 4], [1, 1, 1]]
    """
    maps = _maps(graph)
    nodes = []
    for number, node in enumerate(graph.nodes):
        kept = tuple(edge for edge in node.edges if edge.source in maps)
        nodes.append(replace(node, edges=kept) if number in maps and kept else node)
    return replace(graph, nodes=tuple(nodes))


def _counted(graph: Graph, start: dict[int, Grid]) -> Grid:
    seeds_in_units = {number: grid * graph.unit for number, grid in start.items()}
    found = graph.backward(seeds_in_units, COUNTS)[0]
    grid = COUNTS.filled(graph.nodes[0].layout.grid) if found is None else found
    return in_units(np.asarray(grid.sum(axis=(0, 1))), graph.unit)


@dataclass(frozen=True, eq=False)
class LayerPaths:
    """The ways from the image to one layer.

    Attributes:
        node: number of the layer's node.
        layer: its submodule, or its own name.
        op: its operation.
        depth: windows, pads, slices and resizes on the longest way from the image to it.
        paths: the ways to all its places.
    """

    node: int
    layer: str
    op: str
    depth: int
    paths: Paths

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        place = {"node": self.node, "layer": self.layer, "op": self.op, "depth": self.depth}
        return {**place, **self.paths.numbers()}


MOST_LAYERS = 32


def paths_by_layer(
    graph: Graph, target: Target = None, *, most: int = MOST_LAYERS
) -> tuple[LayerPaths, ...]:
    """The ways from each pixel to each layer: how the image's parts drift apart with depth.

    A layer's depth is the number of windows, pads, slices and resizes on the longest way from the
    image to it. Of the layers on the longest ways to the target, the last of each depth is taken.

    Args:
        graph: of the network.
        target: where the layers lead to; the last feature map unless told.
        most: layers, of which the first and the last and others at equal distances between them
            are taken where there are more.

    Returns:
        One for each depth from 1 on; the last is the target where that is one node.

    Raises:
        SettingsError: there is no such node.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(3)])
        >>> [round(one.paths.max_over_corner, 2) for one in paths_by_layer(capture(net, (1, 9)))]
        [1.5, 1.8, 2.08]
    """
    chosen = _one_of_each_depth(graph, numbers_of(graph, target))
    if len(chosen) > most:
        kept = np.linspace(0, len(chosen) - 1, most).round().astype(int)
        chosen = [chosen[index] for index in kept]
    return tuple(
        LayerPaths(n, label(graph, n), graph.nodes[n].op, depth, count_paths(graph, n))
        for depth, n in chosen
    )


def _one_of_each_depth(graph: Graph, targets: Sequence[int]) -> list[tuple[int, int]]:
    """(depth, node) for each depth, of the maps on the longest ways to the targets."""
    way = sorted(on_the_way(graph, targets))
    maps = _maps(graph)
    moves = {number: number in maps and _moves(graph, number, maps) for number in way}
    depth: dict[int, int] = {}
    for number in way:
        before = [depth[edge.source] for edge in graph.nodes[number].edges]
        depth[number] = max(before, default=0) + moves[number]
    height = dict.fromkeys(targets, 0)
    for number in reversed(way):
        for edge in graph.nodes[number].edges:
            after = height[number] + moves[number]
            height[edge.source] = max(height.get(edge.source, 0), after)
    longest = max(depth[number] for number in targets)
    found = {depth[n]: n for n in way if n in maps and depth[n] + height[n] == longest}
    return sorted((d, n) for d, n in found.items() if d)


def _maps(graph: Graph) -> set[int]:
    sides = image_sides(graph)
    return {n for n, node in enumerate(graph.nodes) if map_dims(node.layout, sides) is not None}


def _moves(graph: Graph, number: int, maps: set[int]) -> bool:
    """Whether a map does more to the axes of a map that it reads than to keep them as they are."""
    axes = len(image_sides(graph))
    return any(
        any(touches(graph.nodes[edge.source].layout, edge, axes))
        for edge in graph.nodes[number].edges
        if edge.source in maps
    )
