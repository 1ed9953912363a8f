"""Which pixels a place of a layer can read at all: the theoretical receptive field.

Words and recursion as in Araujo, Norris and Sim, "Computing receptive fields of convolutional
neural networks", Distill 2019: place u of a layer reads, along each axis, the pixels from
−padding + u·stride on, size pixels long, of which those outside the image are padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from placewise.auditing._fields import Field, Intervals, carried
from placewise.auditing._structure import (
    Target,
    image_sides,
    label,
    last_map,
    map_dims,
    middle,
    numbers_of,
    outputs,
    seeds,
    shares,
)
from placewise.graph import Graph
from placewise.ops import EXISTS, Grid, Status

GLOBAL = "global"


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of the places of one node; a value for each axis of the image.

    Attributes:
        node: its number in the graph.
        layer: its submodule, or its own name.
        op: its operation.
        size: pixels from the first to the last that a place reads through windows; all of them
            where it reads through dense relations alone.
        stride: pixels from the field of one place to that of the next, nominal where the fields
            are not all alike; None where they are all the whole image or no map is left.
        padding: pixels by which the field of place 0 begins before the image; None where the
            fields are not all alike.
        centre: of the field of place 0, in pixels; None where the fields are not all alike.
        aligned: whether all ways from the image agree on stride and centre.
        clipped: whether the fields are not all alike and too many of them touch the border, so
            that `size` holds for this image and may be larger in a larger one.
        status: "unknown": an operation on the way is unknown; else "global": a place reads all
            pixels besides, by a gate, a norm over the image, attention or pooling; else "bound":
            a rule on the way may claim more than is read, or the size is clipped; else "exact".
        holes: pixels between the first and the last that the middle place does not read; None
            where that was not counted.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> receptive_fields(capture(nn.Conv1d(1, 1, 5, padding=2), (1, 9)))[-1].padding
        (2,)
    """

    node: int
    layer: str
    op: str
    size: tuple[int, ...]
    stride: tuple[Fraction | None, ...]
    padding: tuple[int | None, ...]
    centre: tuple[Fraction | None, ...]
    aligned: bool
    clipped: bool
    status: str
    holes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "node": self.node,
            "layer": self.layer,
            "op": self.op,
            "size": list(self.size),
            "stride": [_number(stride) for stride in self.stride],
            "padding": list(self.padding),
            "centre": [_number(centre) for centre in self.centre],
            "aligned": self.aligned,
            "clipped": self.clipped,
            "status": self.status,
            "holes": self.holes,
        }


def _number(value: Fraction | None) -> int | float | None:
    if value is None:
        return None
    return int(value) if value.denominator == 1 else float(f"{float(value):.6g}")


def receptive_fields(graph: Graph) -> tuple[ReceptiveField, ...]:
    """The receptive field of every node, in the order of the graph.

    Where all places are treated alike along an axis, fields are carried from step to step and do
    not end at the image's border: size' = size + (extent − 1)·stride, stride' = stride·step,
    start' = start + offset·stride, padding = −start. Where ways join, the field is their union.
    Else (resized maps, attention in windows) the first and the last pixel of each place are
    computed within the image; their distance is exact where as many places as there are
    different ones read neither end of the image.

    Args:
        graph: of the network.

    Returns:
        One for each node; the first is the image's own. `holes` is given for the last feature
        map and the outputs.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1))
        >>> [field.size for field in receptive_fields(capture(net, (1, 64, 64)))]
        [(1, 1), (7, 7), (11, 11)]
    """
    intervals = Intervals(graph)
    trusted = _trusted(graph)
    asked = {last_map(graph), *outputs(graph)}
    found = []
    for number, fields in enumerate(carried(graph)):
        one = _report(graph, number, fields, intervals, trusted[number])
        if number in asked:
            one = replace(one, holes=pixels_read(graph, number).holes)
        found.append(one)
    return tuple(found)


def _trusted(graph: Graph) -> list[Status]:
    """How far all that leads to each node can be trusted."""
    order = [Status.EXACT, Status.BOUND, Status.UNKNOWN]
    found: list[Status] = []
    for node in graph.nodes:
        before = [found[edge.source] for edge in node.edges]
        found.append(max([node.status, *before], key=order.index))
    return found


def _report(
    graph: Graph, number: int, fields: Sequence[Field], intervals: Intervals, trusted: Status
) -> ReceptiveField:
    sides = image_sides(graph)
    sizes, strides, clipped = [], [], False
    dense = any(field.dense for field in fields)
    for axis, field in enumerate(fields):
        size, stride = field.size or sides[axis] * field.dense, _stride(graph, number, axis, field)
        if field.torn:
            wanted = field.period / abs(field.stride) if field.stride else Fraction(0)
            size, free = intervals.size(number, axis, wanted)
            clipped |= not free
            if field.perhaps and intervals.whole(number, axis):
                dense, stride = True, None
        sizes.append(size)
        strides.append(stride)
    status = GLOBAL if dense else Status.BOUND if clipped else Status.EXACT
    if trusted is Status.UNKNOWN or (trusted is Status.BOUND and not dense):
        status = trusted
    alike = [bool(field.size) and not field.torn for field in fields]
    zipped = list(zip(fields, alike, strict=True))
    return ReceptiveField(
        node=number,
        layer=label(graph, number),
        op=graph.nodes[number].op,
        size=tuple(sizes),
        stride=tuple(strides),
        padding=tuple(-field.start if same else None for field, same in zipped),
        centre=tuple(
            field.start + Fraction(field.size - 1, 2) if same else None for field, same in zipped
        ),
        aligned=all(field.aligned and same for field, same in zipped),
        clipped=clipped,
        status=str(status),
    )


def _stride(graph: Graph, number: int, axis: int, field: Field) -> Fraction | None:
    """From one place to the next; where that could not be followed, pixels over places."""
    if not field.size:
        return None
    if not field.torn or (field.period and not field.mixed):
        return field.stride
    layout, sides = graph.nodes[number].layout, image_sides(graph)
    dims = map_dims(layout, sides)
    dim = dims[axis] if dims else None
    return None if dim is None else Fraction(sides[axis], layout.grid[dim])


@dataclass(frozen=True, eq=False)
class PixelsRead:
    """The set of pixels that one unit reads.

    Attributes:
        node: number of the unit's node.
        place: of the unit.
        mask: (*image) whether the pixel is read.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> read = pixels_read(capture(nn.Conv1d(1, 1, 3, dilation=2), (1, 9)))
        >>> read.mask.astype(int).tolist(), read.pixels, read.holes
        ([0, 0, 1, 0, 1, 0, 1, 0, 0], 3, 2)
    """

    node: int
    place: tuple[int, ...]
    mask: Grid

    @cached_property
    def box(self) -> tuple[tuple[int, int], ...]:
        """First and last pixel that is read, for each axis; nothing where none is."""
        if not self.mask.any():
            return ()
        return tuple((int(found.min()), int(found.max())) for found in np.nonzero(self.mask))

    @property
    def pixels(self) -> int:
        """How many are read."""
        return int(self.mask.sum())

    @property
    def holes(self) -> int:
        """How many are not read though they lie in the box."""
        inside = self.mask[tuple(slice(first, last + 1) for first, last in self.box)]
        return int((~inside).sum()) if self.box else 0

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it; of the mask, the share of each block that is read."""
        return {
            "node": self.node,
            "place": list(self.place),
            "pixels": self.pixels,
            "box": [list(ends) for ends in self.box],
            "holes": self.holes,
            "mask": shares(self.mask),
        }


def pixels_read(
    graph: Graph, target: Target = None, place: Sequence[int] | None = None
) -> PixelsRead:
    """The set of pixels that one unit reads.

    Args:
        graph: of the network.
        target: the unit's node; the last feature map unless told.
        place: of the unit: an index for each axis of the image, or for each dimension of the
            node's grid; the middle one unless told.

    Raises:
        SettingsError: there is no such node or place.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> pixels_read(capture(nn.Conv1d(1, 1, 3), (1, 9)), place=(0,)).box
        ((0, 2),)
    """
    number = numbers_of(graph, target)[0]
    index = middle(graph, number) if place is None else tuple(place)
    start = seeds(graph, number, EXISTS, index)
    found = graph.backward({number: start}, EXISTS)[0]
    mask = EXISTS.filled(graph.nodes[0].layout.grid) if found is None else found
    return PixelsRead(number, index, np.asarray(mask.any(axis=(0, 1))))
