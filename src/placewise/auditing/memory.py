"""How much memory an audit takes, estimated before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from placewise.errors import SettingsError
from placewise.graph import OUTPUT, Graph
from placewise.ops import EXISTS

LIMIT = 4_000_000_000
"""Bytes that an audit takes at most; beyond, it is refused, or nothing is measured."""

COUNT, POINTER, TAPS = 56, 8, 8
"""Bytes of a count (an integer of any size, and where it is kept), of the latter alone, and places
of a window that are gathered at once."""


def bytes_to_count(graph: Graph) -> int:
    """Estimate the memory in which the paths of a network are counted.

    One walk finds for each node how many numbers are kept, as equal rows and columns are kept once.
    At each node these are held for all nodes before it that a later one reads.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> bytes_to_count(capture(nn.Conv2d(1, 1, 3, padding=1), (1, 2000, 2000))) < 10_000
        True
    """
    seeds = {n: graph.ones(n, EXISTS) for n in graph.find(OUTPUT)}
    kept = {n: 0 if grid is None else grid.core.size for n, grid in graph.backward(seeds, EXISTS)}
    return max(held * COUNT + kept[number] * TAPS * POINTER for number, held in _held(graph, kept))


def bytes_to_run(graph: Graph) -> int:
    """Estimate the memory of the maps of one image, in single precision, when the network runs.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> bytes_to_run(capture(nn.Conv2d(1, 2, 1), (1, 10, 10)))
        1200
    """
    sizes = {n: math.prod(node.layout.shape) for n, node in enumerate(graph.nodes)}
    return max(4 * held for _, held in _held(graph, sizes))


def _held(graph: Graph, sizes: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """For each node: its number, and the sizes of the nodes so far that are still to be read."""
    last_reader = {n: n for n in sizes}
    for number, node in enumerate(graph.nodes):
        for edge in node.edges:
            last_reader[edge.source] = number
    for number in sizes:
        yield number, sum(sizes[n] for n in range(number + 1) if last_reader[n] >= number)


def check_memory(graph: Graph) -> None:
    """Refuse to count where that would take too much memory.

    Raises:
        SettingsError: with the estimate.
    """
    needed = bytes_to_count(graph)
    if needed > LIMIT:
        side = " × ".join(str(max(1, side // 2)) for side in graph.sides)
        raise SettingsError(
            f"to count the paths at {' × '.join(map(str, graph.sides))} would take about "
            f"{needed / 1e9:.0f} GB of memory, and an audit takes at most {LIMIT / 1e9:.0f} GB; "
            f"audit a smaller size, e.g. {side}"
        )


def bytes_to_measure(shape: Sequence[int], images: int, room: int) -> int:
    """Memory of the images on which a network is measured, in single precision.

    Args:
        shape: (channels, *space) of one.
        images: how many there are.
        room: their sides over those of the network's input.

    Example:
        >>> bytes_to_measure((3, 4096, 4096), 32, 2)
        25769803776
    """
    return 4 * images * shape[0] * math.prod(room * side for side in shape[1:])
