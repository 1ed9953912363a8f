"""Path counts: how many paths lead from each pixel, and from padding, to what the network gives.

The number of paths from a pixel to a place is the derivative of that place by the pixel in a
network in which every weight is 1, every bias 0, every activation and normalisation the identity,
and every pooling the sum over its window. It is the influence of a pixel before anything is learnt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any

import numpy as np

from placewise.auditing._numbers import block_lists, in_units, logarithms, plain, ratio, rounded
from placewise.geometry import FloatArray
from placewise.graph import Graph, Target
from placewise.ops import COUNTS, Grid, Packed, refined
from placewise.ops.algebra import whole

SPATIAL, PER_CHANNEL = "spatial", "per channel"
BY_ROWS = f"{PER_CHANNEL}, but for large matrices of attention, of which a row counts as one"


@dataclass(frozen=True, eq=False)
class Paths:
    """How many paths lead from each pixel to a target.

    Attributes:
        convention: "spatial": all channels of a tensor count as one; "per channel": each counts
            apart, so that a convolution has as many paths as weights. A matrix of attention of
            more than four million numbers is counted by rows then, which the text says.
        target: where the paths lead.
        packed: (*image) exact integers, or fractions if a layer scales what it reads, with equal
            rows and columns kept once. If counted per channel, the sum over the image's channels.

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
    packed: Packed

    @cached_property
    def counts(self) -> Grid:
        """The count of each pixel, (*image)."""
        return self.packed.whole()

    @property
    def sides(self) -> tuple[int, ...]:
        """Length of each axis of the image."""
        return self.packed.shape

    @cached_property
    def _in_parts(self) -> tuple[Packed, int]:
        """The counts as integers, which are fast to add, and the number that means 1."""
        core = self.packed.core
        unit = math.lcm(*{count.denominator for count in core.flat})
        return self.packed if unit == 1 else self.packed.with_core(whole(core * unit)), unit

    @cached_property
    def total(self) -> Any:
        """All paths from all pixels."""
        parts, unit = self._in_parts
        return _in_unit(parts.total, unit)

    @cached_property
    def maximum(self) -> Any:
        """The largest count of a pixel."""
        parts, unit = self._in_parts
        return _in_unit(parts.core.max(), unit)

    @cached_property
    def minimum(self) -> Any:
        """The smallest count of a pixel."""
        parts, unit = self._in_parts
        return _in_unit(parts.core.min(), unit)

    @property
    def centre(self) -> Any:
        """The count of the middle pixel; of two middle pixels, the second."""
        return self.packed.at([side // 2 for side in self.sides])

    @property
    def corners(self) -> tuple[Any, ...]:
        """The counts of the corners; for an image: top left, top right, bottom left and right."""
        ends = itertools.product((0, -1), repeat=len(self.sides))
        return tuple(self.packed.at(end) for end in ends)

    @property
    def corner_ratio(self) -> float:
        """Paths of the best-served corner over those of the worst-served."""
        return ratio(max(self.corners), min(self.corners))

    @property
    def edges(self) -> tuple[tuple[Any, Any], ...]:
        """For each axis the counts of the middle pixels of its first and of its last side."""
        middle = [side // 2 for side in self.sides]
        return tuple(
            (
                self.packed.at([*middle[:axis], 0, *middle[axis + 1 :]]),
                self.packed.at([*middle[:axis], -1, *middle[axis + 1 :]]),
            )
            for axis in range(len(middle))
        )

    @property
    def max_over_edge(self) -> tuple[tuple[float, float], ...]:
        """The largest count over those of `edges`; infinite for an edge without a path."""
        return tuple(
            (ratio(self.maximum, first), ratio(self.maximum, last)) for first, last in self.edges
        )

    @property
    def max_over_corner(self) -> float:
        """The largest count over that of the best corner; infinite if no corner has a path."""
        return ratio(self.maximum, max(self.corners))

    @cached_property
    def asymmetry(self) -> tuple[float, ...]:
        """(a − b)/(a + b) for each axis, with a the paths from its first half, b from its last.

        The middle row of an odd axis belongs to neither. 0 is symmetric, 1 is all in the first.
        """
        found = []
        parts, _ = self._in_parts
        for axis, side in enumerate(parts.shape):
            first, last = (
                parts.weighed([*parts.weights[:axis], half, *parts.weights[axis + 1 :]])
                for half in (
                    parts.held(axis, range(side // 2)),
                    parts.held(axis, range(side - side // 2, side)),
                )
            )
            found.append(ratio(first - last, first + last))
        return tuple(found)

    @cached_property
    def gini(self) -> float:
        """Gini's coefficient: 0 if all pixels have equally many paths, near 1 if few have all.

        Σ (2i − n − 1)·xᵢ / (n·Σ x) over the n counts x in rising order, i from 1.
        """
        if not self.maximum:
            return 0.0
        parts, _ = self._in_parts
        values = (parts.core / parts.core.max()).astype(np.float64).ravel()
        times = reduce(np.multiply.outer, parts.weights).ravel().astype(np.float64)
        order = np.argsort(values)
        values, times = values[order], times[order]
        n = times.sum()
        ranks = 2 * np.cumsum(times) - times - n  # mean of 2i − n − 1 over equal values
        return float((ranks * times) @ values / (n * (times @ values)))

    @property
    def zeros(self) -> int:
        """Number of pixels without a path."""
        blind = np.asarray(self.packed.core == 0, dtype=bool)
        return int(self.packed.with_core(blind).total)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it: counts as text, the map as log₁₀ of block means.

        Infinite numbers and NaN become None.
        """
        return {**self.numbers(), "log10_map": logarithms(*self._in_parts)}

    def numbers(self) -> dict[str, Any]:
        """`to_dict` without the map."""
        return {
            "convention": self.convention,
            "target": self.target,
            "total": str(self.total),
            "corners": [str(count) for count in self.corners],
            "centre": str(self.centre),
            "max": str(self.maximum),
            "edges": [[str(count) for count in pair] for pair in self.edges],
            "max_over_edge": plain(self.max_over_edge),
            "max_over_corner": rounded(self.max_over_corner),
            "asymmetry": plain(self.asymmetry),
            "gini": rounded(self.gini),
            "zeros": self.zeros,
        }


def count_paths(
    graph: Graph, target: Target = None, *, place: Sequence[int] | None = None
) -> Paths:
    """Count the paths from each pixel to a target, exactly.

    Args:
        graph: of the network; channels count apart if the graph was captured per channel.
        target: a node's number, name or submodule; "output" for all outputs together; by default
            the last feature map, see `Graph.last_map`.
        place: one unit of the target: an index for each axis of the image (all channels), or for
            each dimension of the node's grid; by default all units.

    Raises:
        SettingsError: there is no such node or place.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> graph = capture(nn.Conv1d(1, 1, 3, padding=1), (1, 5))
        >>> count_paths(graph).counts.tolist(), count_paths(graph, place=(0,)).counts.tolist()
        ([2, 3, 3, 3, 2], [1, 1, 0, 0, 0])
    """
    numbers = graph.find(target) if place is None else graph.find(target)[:1]
    seeds = {n: graph.ones(n, COUNTS, place, graph.unit) for n in numbers}
    counts = graph.to_image(seeds, COUNTS).summed((0, 1))
    exact = counts.with_core(in_units(counts.core, graph.unit))
    return Paths(convention_of(graph), graph.label(target), exact)


def convention_of(graph: Graph) -> str:
    """What counts as one; see `Paths`.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> convention_of(capture(nn.Conv1d(1, 1, 3), (1, 5), per_channel=True))
        'per channel'
    """
    if not graph.per_channel:
        return SPATIAL
    products = (node for node in graph.nodes if node.role == "contraction")
    atoms = (atom for node in products for dim in node.layout.dims for atom in dim)
    return BY_ROWS if any(atom.blurred for atom in atoms) else PER_CHANNEL


# --- layer by layer ------------------------------------------------------------------------------

MOST_LAYERS = 32


@dataclass(frozen=True, eq=False)
class LayerPaths:
    """The paths from the image to one layer.

    Attributes:
        node: number of the layer's node.
        layer: its submodule, or its own name.
        op: its operation.
        depth: number of windows, pads, slices and resizes on the longest path to it.
        paths: the paths to all its places.
        mover: number of the node with which its depth begins: the window itself, where the layer is
            what follows it at each place.
    """

    node: int
    layer: str
    op: str
    depth: int
    paths: Paths
    mover: int

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        place = {"node": self.node, "layer": self.layer, "op": self.op, "depth": self.depth}
        return {**place, **self.paths.numbers()}


def paths_by_layer(
    graph: Graph, target: Target = None, *, most: int = MOST_LAYERS
) -> tuple[LayerPaths, ...]:
    """Count the paths from each pixel to each layer: how parts of the image diverge with depth.

    A layer's depth is the number of windows, pads, slices and resizes on the longest path from the
    image to it. Of the layers on the longest paths to the target, the last of each depth is taken.

    Args:
        graph: of the network.
        target: where the layers lead; by default the last feature map.
        most: largest number of layers. If there are more, the first, the last and others at equal
            distances between them are taken.

    Returns:
        One for each depth, starting at 1; the last is the target if that is one node. Where no
        layer moves places, the target alone.

    Raises:
        SettingsError: there is no such node.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(3)])
        >>> [round(one.paths.max_over_corner, 2) for one in paths_by_layer(capture(net, (1, 9)))]
        [1.5, 1.8, 2.08]
    """
    chosen = _one_of_each_depth(graph, graph.find(target))
    if len(chosen) > most:
        kept = np.linspace(0, len(chosen) - 1, most).round().astype(int)
        chosen = [chosen[index] for index in kept]
    return tuple(
        LayerPaths(n, graph.label(n), graph.nodes[n].op, depth, count_paths(graph, n), first)
        for depth, n, first in chosen
    )


def paths_by_output(graph: Graph, *, most: int = MOST_LAYERS) -> tuple[LayerPaths, ...]:
    """Count the paths from each pixel to each of several outputs: the levels of a pyramid.

    Args:
        graph: of the network.
        most: outputs that are counted, the first ones.

    Returns:
        One for each output; none where there is only one.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> class Two(nn.Module):
        ...     def forward(self, image):
        ...         return image + 1, image[..., ::2] + 1
        >>> [int(one.paths.total) for one in paths_by_output(capture(Two(), (1, 8)))]
        [8, 4]
    """
    outputs = graph.outputs[:most] if len(graph.outputs) > 1 else ()
    return tuple(
        LayerPaths(n, graph.label(n), graph.nodes[n].op, 0, count_paths(graph, n), n)
        for n in outputs
    )


def _one_of_each_depth(graph: Graph, targets: Sequence[int]) -> list[tuple[int, int, int]]:
    """(depth, last node, first node) of each depth, of maps on the longest paths to the targets."""
    nodes = sorted(graph.ancestors(targets))
    moves = {number: _moves(graph, number) for number in nodes}
    depth: dict[int, int] = {}
    for number in nodes:
        before = [depth[edge.source] for edge in graph.nodes[number].edges]
        depth[number] = max(before, default=0) + moves[number]
    height = dict.fromkeys(targets, 0)
    for number in reversed(nodes):
        for edge in graph.nodes[number].edges:
            after = height[number] + moves[number]
            height[edge.source] = max(height.get(edge.source, 0), after)
    longest = max(depth[number] for number in targets)
    found: dict[int, list[int]] = {}
    for n in nodes:
        if n in graph.maps and depth[n] + height[n] == longest:
            found.setdefault(depth[n], []).append(n)
    moved = sorted((d, own[-1], own[0]) for d, own in found.items() if d)
    return moved or [(1, number, number) for number in targets if number in graph.maps]


def _moves(graph: Graph, number: int) -> bool:
    """Whether a map reads a map in any other way than place by place."""
    return number in graph.maps and any(
        any(chains) for source, chains in graph.touches[number] if source in graph.maps
    )


# --- from padding --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PaddingPaths:
    """Where the paths to each place of a target begin: in pixels or in padding.

    Each place that zero padding adds, to the image or to a map between two layers, begins a path.
    Padding that repeats pixels (reflect, replicate, circular) consists of pixels, and what a
    pooling ignores is not read.

    Attributes:
        target: where the paths lead.
        parts: exact number of paths that begin in padding, and in the image, by place: over the
            image's axes if the target is a map, else over the dimensions of its grid; with equal
            rows and columns kept once, and for both the same.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> found = padding_paths(capture(nn.Conv1d(1, 1, 3, padding=1), (1, 4)))
        >>> found.padded.tolist(), found.imaged.tolist(), found.overall
        ([1, 0, 0, 1], [2, 3, 3, 2], Fraction(1, 6))
    """

    target: str
    parts: tuple[Packed, Packed]

    @cached_property
    def padded(self) -> Grid:
        """Exact number of paths to each place that begin in padding."""
        return self.parts[0].whole()

    @cached_property
    def imaged(self) -> Grid:
        """Exact number of paths to each place that begin in the image."""
        return self.parts[1].whole()

    @cached_property
    def share(self) -> FloatArray:
        """Share of the paths to each place that begin in padding; 0 if there is no path."""
        padded, imaged = self.parts
        pairs = zip(padded.core.flat, imaged.core.flat, strict=True)
        values = np.array([float(_share(*pair)) for pair in pairs]).reshape(padded.core.shape)
        return padded.with_core(values).whole()

    @property
    def overall(self) -> Fraction:
        """Share of all paths to all places that begin in padding."""
        return _share(*(part.total for part in self.parts))

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it, the map as means over blocks."""
        return {
            "target": self.target,
            "overall": rounded(float(self.overall)),
            "min": rounded(float(self.share.min())),
            "max": rounded(float(self.share.max())),
            "share": block_lists(self.share),
        }


def _in_unit(count: Any, unit: int) -> Any:
    """One count that was made in multiples of a unit."""
    return count if unit == 1 else in_units(np.array([count], dtype=object), unit)[0]


def _share(padded: Any, imaged: Any) -> Fraction:
    paths = Fraction(padded) + Fraction(imaged)
    return Fraction(padded) / paths if paths else Fraction(0)


def padding_paths(graph: Graph, target: Target = None) -> PaddingPaths:
    """Count for each place of a target the paths that begin in padding and in the image.

    This takes two passes forward: in one, each place that zero padding adds counts 1 and the image
    counts 0; in the other it is the opposite.

    Args:
        graph: of the network.
        target: a node's number, name or submodule; "output" for the first output; by default the
            last feature map.

    Raises:
        SettingsError: there is no such node.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(2)])
        >>> padding_paths(capture(net, (1, 6))).share.round(3).tolist()
        [0.286, 0.111, 0.0, 0.0, 0.111, 0.286]
    """
    number = graph.find(target)[0]
    image, unit = graph.nodes[0].layout.grid, graph.unit
    starts = (Packed.filled(image, COUNTS), unit), (Packed.filled(image, COUNTS, unit), None)
    found = [graph.forward(start, COUNTS, fill, to=number)[number] for start, fill in starts]
    first, second = (graph.over_image(one, number) for one in found)
    cores, index = refined(first, second)
    padded, imaged = (Packed(in_units(core, unit), index) for core in cores)
    return PaddingPaths(graph.label(target), (padded, imaged))
