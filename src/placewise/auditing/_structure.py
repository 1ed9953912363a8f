"""What the structural findings share: maps of a graph, the way to its outputs, plain numbers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from placewise.auditing._finding import LONGEST_AXIS, block_means
from placewise.errors import SettingsError
from placewise.graph import Graph
from placewise.ops import Algebra, Grid, Layout

Target = int | str | None
"""A node by its number, its name or its submodule; "output"; None for the last feature map."""

OUTPUT = "output"


# --- where in a graph ----------------------------------------------------------------------------


def image_sides(graph: Graph) -> tuple[int, ...]:
    """Length of each axis of the image."""
    return graph.nodes[0].layout.shape[2:]


def outputs(graph: Graph) -> tuple[int, ...]:
    """Numbers of the outputs that depend on the image.

    Raises:
        SettingsError: there are none.
    """
    if not graph.outputs:
        raise SettingsError(
            "no output of the network depends on the image; give a network that returns "
            "tensors made of its input"
        )
    return graph.outputs


def on_the_way(graph: Graph, targets: Iterable[int]) -> set[int]:
    """The nodes that some target reads, however indirectly, the targets too."""
    way = set(targets)
    for number in range(len(graph.nodes) - 1, -1, -1):
        if number in way:
            way.update(edge.source for edge in graph.nodes[number].edges)
    return way


def map_dims(layout: Layout, sides: Sequence[int]) -> tuple[int | None, ...] | None:
    """The dimension in which each axis of the image is told apart, if each has its own.

    Args:
        layout: of the tensor.
        sides: of the image; an axis of length 1 has no dimension.

    Returns:
        A dimension for each axis; None where the tensor is no map.
    """
    axes = [[atom.axis for atom in dim if atom.place] for dim in layout.dims]
    found: list[int | None] = []
    for axis, side in enumerate(sides):
        dims = [d for d, here in enumerate(axes) if axis in here]
        if side > 1 and (len(dims) != 1 or set(axes[dims[0]]) != {axis}):
            return None
        found.append(dims[0] if side > 1 else None)
    return tuple(found)


def last_map(graph: Graph) -> int:
    """The last feature map: where the network last tells places apart along each axis.

    An output that is a map is that map, the first if there are several. Else it is the last map
    on the way to the first output: before global pooling, flattening or tokens.

    Args:
        graph: of the network.

    Returns:
        The number of the node.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        >>> graph = capture(net, (1, 8, 8))
        >>> graph.nodes[last_map(graph)].op
        'relu'
    """
    sides = image_sides(graph)
    maps = [n for n, node in enumerate(graph.nodes) if map_dims(node.layout, sides) is not None]
    for number in outputs(graph):
        if number in maps:
            return number
    way = on_the_way(graph, outputs(graph)[:1])
    return max((number for number in maps if number in way), default=0)


def numbers_of(graph: Graph, target: Target) -> tuple[int, ...]:
    """Numbers of the nodes that a target names; several only for "output".

    Raises:
        SettingsError: there is no such node.
    """
    if target is None:
        return (last_map(graph),)
    if target == OUTPUT:
        return outputs(graph)
    if isinstance(target, int):
        if not 0 <= target < len(graph.nodes):
            raise SettingsError(
                f"there is no node {target}; the graph has nodes 0 to {len(graph.nodes) - 1}"
            )
        return (target,)
    known = {node.module: n for n, node in enumerate(graph.nodes) if node.module}
    known |= {node.name: n for n, node in enumerate(graph.nodes)}
    if target not in known:
        near = difflib.get_close_matches(target, known)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see graph.nodes"
        raise SettingsError(f"the graph has no node or submodule '{target}'; {hint}")
    return (known[target],)


def label(graph: Graph, number: int) -> str:
    """The submodule of a node, or its own name where it has none."""
    node = graph.nodes[number]
    return node.module or node.name


def target_label(graph: Graph, target: Target) -> str:
    """What a target is called in a finding."""
    return OUTPUT if target == OUTPUT else label(graph, numbers_of(graph, target)[0])


# --- grids ---------------------------------------------------------------------------------------


def over_image(grid: Grid, layout: Layout, sides: Sequence[int]) -> Grid:
    """A map's numbers over the image's axes in their order, summed over all other dimensions.

    A grid that is no map is given back as it is.
    """
    dims = map_dims(layout, sides)
    if dims is None:
        return grid
    kept = [dim for dim in dims if dim is not None]
    rest = tuple(dim for dim in range(grid.ndim) if dim not in kept)
    summed = np.asarray(grid.sum(axis=rest))
    moved = summed.transpose([sorted(kept).index(dim) for dim in kept])
    lengths = iter(moved.shape)
    return moved.reshape([1 if dim is None else next(lengths) for dim in dims])


def seeds(graph: Graph, number: int, algebra: Algebra, place: Sequence[int] | None = None) -> Grid:
    """Ones to begin a backward pass with: at all places of a node, or at one.

    Args:
        graph: of the network.
        number: of the node.
        algebra: of the ones.
        place: an index for each axis of the image, of all channels, if the node is a map; else,
            or to name one channel, an index for each dimension of its grid.

    Raises:
        SettingsError: there is no such place.
    """
    layout = graph.nodes[number].layout
    if place is None:
        return algebra.filled(layout.grid, 1)
    dims = map_dims(layout, image_sides(graph))
    if dims is not None and len(place) == len(dims):
        index: list[Any] = [slice(None)] * len(layout.grid)
        for dim, wanted in zip(dims, place, strict=True):
            if dim is not None:
                index[dim] = wanted
    else:
        index = list(place)
    grid = algebra.filled(layout.grid)
    try:
        if len(index) != grid.ndim:
            raise IndexError
        grid[tuple(index)] = 1
    except IndexError:
        raise SettingsError(
            f"'{label(graph, number)}' has no place {tuple(place)}; its grid is {layout.grid}"
            + ("" if dims is None else f", of which {dims} are the image's axes")
        ) from None
    return grid


def in_units(grid: Grid, unit: int) -> Grid:
    """Counts that were made in multiples of a unit, as they are: integers and fractions.

    Args:
        grid: Python's integers.
        unit: what one is in them.

    Example:
        >>> in_units(np.array([6, 3], dtype=object), 2).tolist()
        [3, Fraction(3, 2)]
    """
    if unit == 1:
        return grid
    found = np.empty(grid.shape, dtype=object)
    found.flat[:] = [n // unit if n % unit == 0 else Fraction(n, unit) for n in grid.flat]
    return found


def middle(graph: Graph, number: int) -> tuple[int, ...]:
    """The middle place of a node, of all channels if it is a map."""
    grid = graph.nodes[number].layout.grid
    dims = map_dims(graph.nodes[number].layout, image_sides(graph))
    if dims is None:
        return tuple(side // 2 for side in grid)
    return tuple(0 if dim is None else grid[dim] // 2 for dim in dims)


# --- plain numbers -------------------------------------------------------------------------------


def ratio(first: Any, second: Any) -> float:
    """A quotient of exact numbers; infinite over zero, not a number for 0/0.

    Example:
        >>> ratio(10**400, 4 * 10**399), ratio(1, 0)
        (2.5, inf)
    """
    if second == 0:
        return math.nan if first == 0 else math.inf
    return float(Fraction(first) / Fraction(second))


def rounded(value: float) -> float | None:
    """Six significant digits; None for what is not a finite number, which JSON cannot hold.

    Example:
        >>> rounded(2 / 3), rounded(math.inf)
        (0.666667, None)
    """
    return float(f"{value:.6g}") if math.isfinite(value) else None


def block_starts(shape: Sequence[int]) -> list[Any]:
    """Where the blocks begin that make a map small, for each of its axes."""
    return [np.arange(0, side, math.ceil(side / LONGEST_AXIS)) for side in shape]


def shares(grid: Grid) -> list[Any]:
    """Means over the blocks of a map as nested lists."""
    means = block_means(grid, block_starts(grid.shape))
    found: list[Any] = np.vectorize(rounded, otypes=[object])(means).tolist()
    return found


def logarithms(counts: Grid, unit: int = 1) -> list[Any]:
    """log₁₀ of the mean of each block of counts as nested lists; None where all are zero.

    Args:
        counts: exact numbers.
        unit: what one is in them.

    Example:
        >>> logarithms(np.array([10**400, 0, 2], dtype=object))
        [400.0, None, 0.30103]
    """
    sums, cells = counts, np.ones(counts.shape, dtype=object)
    for axis, first in enumerate(block_starts(counts.shape)):
        sums = np.add.reduceat(sums, first, axis=axis)
        cells = np.add.reduceat(cells, first, axis=axis)
    means = [Fraction(s) / (c * unit) for s, c in zip(sums.flat, cells.flat, strict=True)]
    found: list[Any] = (
        np.array([_log10(m) for m in means], dtype=object).reshape(sums.shape).tolist()
    )
    return found


def _log10(value: Fraction) -> float | None:
    if not value:
        return None
    return rounded(math.log10(value.numerator) - math.log10(value.denominator))
