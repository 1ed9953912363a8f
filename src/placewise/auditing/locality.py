"""How far a network looks about each place, and whether that ends: what tiles need to know.

A network is local where its places read pixels within a fixed distance, however large the image
is. So the distances are found at one size and at twice that size: they are equal exactly if the
network is local and the sizes are large enough. What reads the whole image (global pooling, a gate,
attention, a norm over places, a border that continues at the opposite one) grows with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from torch import nn

from placewise.errors import CaptureError, SettingsError
from placewise.graph import Graph, capture
from placewise.ops import HIGHEST, LOWEST, Packed, Status, refined

LONGEST = 2048
"""Side in pixels of the largest image on which distances are looked for."""

Reach = tuple[int, int]
"""Pixels that the places of a map read before and behind the pixels that each stands for."""


@dataclass(frozen=True)
class Locality:
    """How far the places of a network's output look.

    Attributes:
        before: pixels that are read before those that a place stands for, along any axis.
        after: pixels that are read behind them.
        stride: pixels for one place of the output.
        period: pixels by which an image may be moved so that all maps move with it exactly.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), nn.MaxPool2d(2))
        >>> locality(net, 1, 2)
        Locality(before=2, after=2, stride=2, period=2)
    """

    before: int
    after: int
    stride: int
    period: int


def locality(network: nn.Module, channels: int, axes: int = 2, multiple: int = 1) -> Locality:
    """Find how far the places of a network's output look.

    Args:
        network: images (batch, channels, *size) to maps of one stride.
        channels: of the images.
        axes: of the images.
        multiple: sides of images that it takes are multiples of it.

    Raises:
        SettingsError: some place reads pixels at any distance; the layer is named.

    Example:
        >>> locality(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1)), 1)
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: the layer '1' (adaptive_avg_pool2d) reads the whole ...
    """
    side = multiple * max(1, 64 // multiple)
    smaller: Graph | None = None
    known: dict[int, Reach] = {}
    while side <= max(LONGEST, 4 * multiple):
        graph = _followed(network, (channels, *[side] * axes))
        found = _reaches(graph)
        output = graph.outputs[0]
        if smaller is not None and known.get(output) == found.get(output, (-1, -1)):
            return _local(smaller, graph, found[output], multiple)
        if output not in found:
            break
        grown = None if smaller is None else [n for n in found if found[n] != known.get(n)]
        smaller, known, side = graph, found, 2 * side
    raise _reads_all(graph, grown if output in found else None)


def _followed(network: nn.Module, shape: tuple[int, ...]) -> Graph:
    """The graph, if it says of each layer what it reads.

    Raises:
        SettingsError: it does not, or a layer reads statistics of all places.
    """
    try:
        graph = capture(network, shape)
    except CaptureError as error:
        raise SettingsError(f"what the network reads is not known: {error}") from error
    for number in sorted(graph.ancestors(graph.outputs)):
        node = graph.nodes[number]
        if node.global_statistics:
            raise SettingsError(
                f"the layer '{graph.label(number)}' ({node.op}) reads the mean and variance of the "
                f"whole image, {ADVICE}"
            )
        if node.status is Status.GUESSED:
            raise SettingsError(
                f"the layer '{graph.label(number)}' ({node.op}) is of a kind that placewise does "
                f"not know, and may read the whole image, {ADVICE}"
            )
    if graph.capture == "run":
        raise SettingsError(
            f"the network could only be followed in one run ({graph.why}), and may read other "
            f"pixels in the next, {ADVICE}"
        )
    return graph


ADVICE = (
    "so it cannot be computed in parts; shrink the image, raise --memory, or use a network whose "
    "layers read windows"
)


def _reads_all(graph: Graph, grown: list[int] | None) -> SettingsError:
    """The error that names the first layer which reads the whole image.

    Args:
        graph: of the largest size.
        grown: nodes that read further in a larger image; None: the output is no map.
    """
    ends = [_ends(graph, axis) for axis in range(len(graph.sides))]
    for number in sorted(graph.ancestors(graph.outputs) - {0}):
        if number in (grown or ()) or (number not in graph.maps and _whole(graph, number, ends)):
            node = graph.nodes[number]
            return SettingsError(
                f"the layer '{graph.label(number)}' ({node.op}) reads the whole image, {ADVICE}"
            )
    return SettingsError(f"the output of the network is no map of the image, {ADVICE}")


def _local(smaller: Graph, graph: Graph, reach: Reach, multiple: int) -> Locality:
    """What both sizes agree on.

    Raises:
        SettingsError: the maps have no stride in whole pixels.
    """
    output = graph.outputs[0]
    steps = [*_strides(smaller, graph)]
    stride = Fraction(graph.sides[0], _length(graph, output, 0))
    period = math.lcm(multiple, *(step.numerator for step in steps))
    if stride.denominator != 1 or period > LONGEST:
        raise SettingsError(
            f"the maps have a stride of {stride} pixels and repeat every {period:,}, {ADVICE}"
        )
    return Locality(*reach, stride=int(stride), period=period)


def _strides(smaller: Graph, larger: Graph) -> Iterator[Fraction]:
    """Pixels for one place of each map, as the growth of the image and of the map says it."""
    for number in smaller.ancestors(smaller.outputs) & smaller.maps:
        for axis, (few, many) in enumerate(zip(smaller.sides, larger.sides, strict=True)):
            more = _length(larger, number, axis) - _length(smaller, number, axis)
            if more:
                yield Fraction(many - few, more)


def _length(graph: Graph, number: int, axis: int) -> int:
    dims = graph.map_dims(number)
    dim = dims[axis] if dims else None
    return 1 if dim is None else graph.nodes[number].layout.shape[dim]


def _reaches(graph: Graph) -> dict[int, Reach]:
    """How far the places of each map look, the furthest of all axes."""
    wanted = graph.ancestors(graph.outputs) & graph.maps
    found: dict[int, Reach] = dict.fromkeys(wanted, (0, 0))
    for axis, side in enumerate(graph.sides):
        first, last = _ends(graph, axis)
        for number in wanted:
            dims = graph.map_dims(number)
            dim = dims[axis] if dims else None
            if dim is None:
                continue
            one = _reach(first[number], last[number], dim, Fraction(side, first[number].shape[dim]))
            found[number] = max(found[number][0], one[0]), max(found[number][1], one[1])
    return found


def _reach(first: Packed, last: Packed, dim: int, stride: Fraction) -> Reach:
    """How far places look along one dimension that stands for pixels in steps of a stride."""
    (low, high), index = refined(first, last)
    others = tuple(d for d in range(low.ndim) if d != dim)
    starts, stops = low.min(axis=others), high.max(axis=others)
    kinds = index[dim]
    if kinds is not None:
        starts, stops = starts[kinds], stops[kinds]
    reads = starts <= stops
    own = [math.floor(place * stride) for place in range(len(starts) + 1)]
    before = np.array(own[:-1])[reads] - starts[reads]
    after = stops[reads] - (np.array(own[1:])[reads] - 1)
    return int(before.max(initial=0)), int(after.max(initial=0))


Ends = tuple[dict[int, Packed], dict[int, Packed]]


def _ends(graph: Graph, axis: int) -> Ends:
    """The first and the last pixel along an axis that each place of each node reads."""
    start = Packed.filled(graph.nodes[0].layout.grid, LOWEST, 0)
    places = np.arange(graph.sides[axis], dtype=np.int64)
    shape = [-1 if dim == 2 + axis else 1 for dim in range(len(start.shape))]
    index = (None if dim == 2 + axis else one for dim, one in enumerate(start.index))
    image = Packed(places.reshape(shape), tuple(index))
    return graph.forward(image, LOWEST), graph.forward(image, HIGHEST)


def _whole(graph: Graph, number: int, ends: Sequence[Ends]) -> bool:
    """Whether each place of a node reads from the first to the last pixel of every axis."""
    for side, (first, last) in zip(graph.sides, ends, strict=True):
        (low, high), _ = refined(first[number], last[number])
        read = low <= high
        if not (read.any() and (low[read] == 0).all() and (high[read] == side - 1).all()):
            return False
    return True
