"""Which pixels a place of a layer can read: the theoretical receptive field.

Terms and recursion are those of Araujo, Norris and Sim, "Computing receptive fields of
convolutional neural networks", Distill 2019: along each axis, place u of a layer reads the pixels
from −padding + u·stride on, over a length of size pixels; those outside the image are padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from placewise.auditing._numbers import Finding, block_lists, plain
from placewise.graph import OUTPUT, Graph, Target
from placewise.graph.touches import Effect, Touch
from placewise.ops import EXISTS, HIGHEST, LOWEST, AxisMap, Grid, Packed, Status, refined
from placewise.ops.axis_map import Affine, Indices

GLOBAL = "global"


@dataclass(frozen=True)
class ReceptiveField(Finding):
    """The receptive field of the places of one node; a value for each axis of the image.

    Attributes:
        node: number of the node in the graph.
        layer: its submodule, or its own name.
        op: its operation.
        size: pixels from the first to the last that a place reads through windows; all pixels if
            it reads through dense relations only.
        stride: pixels from the field of one place to that of the next; nominal if the fields
            are not all alike; None if each is the whole image or no map is left.
        padding: pixels by which the field of place 0 begins before the image; None if the
            fields are not all alike.
        centre: of the field of place 0, in pixels; None if the fields are not all alike.
        concentric: whether all paths from the image agree on stride and centre.
        clipped: whether the fields are not all alike and too many of them touch the border, so
            that `size` holds for this image and may be larger in a larger one.
        status: "guessed" if an operation on some path is unknown; "one run" if the network was
            followed in one run on numbers; else "global" if a place also reads all pixels, by a
            gate, a norm over the image, attention or pooling; else "at most" if a rule on some
            path may claim more than is read, or the size is clipped; else "exact".
        holes: pixels between the first and the last that the middle place does not read; None
            if they were not counted.

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
    concentric: bool
    clipped: bool
    status: str
    holes: int | None = None


def receptive_fields(graph: Graph) -> tuple[ReceptiveField, ...]:
    """Find the receptive field of every node, in the order of the graph.

    As long as all places are treated alike along an axis, fields are carried from step to step and
    do not end at the image's border: size' = size + (extent − 1)·stride, stride' = stride·step,
    start' = start + offset·stride, padding = −start. Where paths join, the field is their union.
    Otherwise (resized maps, attention in windows) the first and the last pixel of each place are
    computed within the image. Their distance is exact if the places that read neither end of the
    image are at least as many as there are different ones.

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
    intervals = _Intervals(graph)
    asked = {graph.last_map, *graph.find(OUTPUT)}
    trusted: list[Status] = []
    least = Status.ONE_RUN if graph.capture == "run" else Status.EXACT
    found = []
    for number, fields in enumerate(_carried(graph)):
        node = graph.nodes[number]
        read = (trusted[edge.source] for edge in node.edges)
        trusted.append(Status.worst([least, node.status, *read]))
        one = _report(graph, number, fields, intervals, trusted[number])
        if number in asked:
            one = replace(one, holes=pixels_read(graph, number).holes)
        found.append(one)
    return tuple(found)


def _report(
    graph: Graph, number: int, fields: Sequence[Field], intervals: _Intervals, trusted: Status
) -> ReceptiveField:
    sizes, strides, clipped = [], [], False
    fields = [intervals.even(number, axis, field) for axis, field in enumerate(fields)]
    dense = any(field.dense for field in fields)
    for axis, field in enumerate(fields):
        size = field.size or graph.sides[axis] * field.dense
        stride = _stride(graph, number, axis, field, intervals)
        if field.torn:
            wanted = field.period / abs(field.stride) if field.stride else Fraction(0)
            size, free = intervals.size(number, axis, wanted)
            clipped |= not free
            if field.perhaps and intervals.whole(number, axis):
                dense, stride = True, None
        sizes.append(size)
        strides.append(stride)
    status = GLOBAL if dense else Status.AT_MOST if clipped else Status.EXACT
    if trusted in (Status.ONE_RUN, Status.GUESSED) or not dense:
        status = trusted if dense else Status.worst([Status(status), trusted])
    alike = [field if field.size and not field.torn else None for field in fields]
    return ReceptiveField(
        node=number,
        layer=graph.label(number),
        op=graph.nodes[number].op,
        size=tuple(sizes),
        stride=tuple(strides),
        padding=tuple(None if field is None else -field.start for field in alike),
        centre=tuple(None if field is None else field.centre for field in alike),
        concentric=all(field is not None and field.concentric for field in alike),
        clipped=clipped,
        status=str(status),
    )


def _stride(
    graph: Graph, number: int, axis: int, field: Field, intervals: _Intervals
) -> Fraction | None:
    """From one place to the next; pixels over places if that could not be followed.

    Channels that lie between places, as a pixel shuffle leaves them, are places here.
    """
    if not field.size:
        return None
    dims, layout = graph.map_dims(number), graph.nodes[number].layout
    dim = dims[axis] if dims else None
    if not field.torn or (field.period and not field.mixed):
        if dim is None:
            return field.stride
        own = [atom.size for atom in layout.dims[dim] if atom.place and atom.axis == axis]
        return field.stride * (math.prod(own) if own else layout.grid[dim]) / layout.shape[dim]
    if dim is None:
        return None
    step = intervals.step(number, axis, dim)
    pixels = graph.sides[axis] if step is None else step * layout.grid[dim]
    return Fraction(pixels, layout.shape[dim])


# --- fields along one axis -----------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """What a place reads along one axis.

    Attributes:
        size: of the field of windows in pixels; 0 if only dense relations lead to the axis.
        stride: from one place to the next in pixels; nominal if fields are not all alike.
        start: first pixel of place 0.
        concentric: whether all paths agree on stride and centre.
        torn: fields are not all alike, so that size and start mean nothing.
        mixed: paths of different strides were joined, so that stride means nothing either.
        perhaps: all places of merged axes were read at once; these are all pixels, if they are
            all that is left of the image.
        period: pixels after which the fields repeat; 0 if that is not known.
        dense: whether all pixels are read, too.
    """

    size: int
    stride: Fraction
    start: int
    concentric: bool = True
    torn: bool = False
    mixed: bool = False
    perhaps: bool = False
    period: int = 1
    dense: bool = False

    @property
    def centre(self) -> Fraction:
        """Of the field of place 0, in pixels."""
        return self.start + Fraction(self.size - 1, 2)

    def touched(self, touch: Touch) -> Field:
        """The field after one step along its axis."""
        if not self.size:
            return self
        if touch.effect is Effect.DENSE:
            return replace(self, size=0, torn=False, mixed=False, perhaps=False, dense=True)
        if touch.map is None:
            perhaps = self.perhaps or touch.effect is Effect.MAYBE
            return replace(self, torn=True, perhaps=perhaps, period=0)
        affine = Affine(1, 0, 0) if touch.map.name == "repeat" else touch.map.affine
        if affine is None:
            return self._irregular(touch.map)
        stride = self.stride * affine.stride
        period = math.lcm(self.period, stride.numerator or 1)
        size = self.size + int((affine.extent - 1) * abs(self.stride))
        start = self.start + int(affine.start * self.stride)
        return replace(self, size=size, stride=stride, start=start, period=period)

    def _irregular(self, relation: AxisMap) -> Field:
        """The field after a step that does not treat all places alike."""
        found = recurrence(relation)
        if found is None:
            factor, period = Fraction(relation.read, max(1, relation.written)), 0
        else:
            factor = Fraction(found[1], found[0])
            period = math.lcm(self.period, (self.stride * found[1]).numerator)
        return replace(self, stride=self.stride * factor, torn=True, period=period)

    def joined(self, other: Field) -> Field:
        """The union of what two paths read."""
        dense = self.dense or other.dense
        if not self.size or not other.size:
            return replace(self if self.size else other, dense=dense)
        period = math.lcm(self.period, other.period)
        mixed = self.mixed or other.mixed or self.stride != other.stride
        both = replace(self, concentric=False, period=period, dense=dense)
        if self.torn or other.torn or mixed:
            return replace(both, torn=True, mixed=mixed, perhaps=self.perhaps or other.perhaps)
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        centred = 2 * self.start + self.size == 2 * other.start + other.size
        concentric = self.concentric and other.concentric and centred
        return replace(both, size=end - start, start=start, concentric=concentric)


@lru_cache(maxsize=1024)
def recurrence(relation: AxisMap) -> tuple[int, int] | None:
    """After how many places a relation repeats, and how far it has moved in what it reads.

    Places that read the first or the last place of the axis are ignored, because the border may be
    treated differently.

    Example:
        >>> from placewise.ops.axes import gather, spread
        >>> recurrence(spread(9, 3, stride=2)), recurrence(gather(5, [3, 1, 4, 0, 2]))
        ((2, 1), None)
    """
    first = np.full(relation.written, relation.read)
    last = np.full(relation.written, -1)
    np.minimum.at(first, relation.outs, relation.ins)
    np.maximum.at(last, relation.outs, relation.ins)
    inside = (first > 0) & (last >= first) & (last < relation.read - 1)
    count = int(inside.sum())
    for places in range(1, count // 2 + 1):
        both = inside[places:] & inside[:-places]
        ahead = np.concatenate([(e[places:] - e[:-places])[both] for e in (first, last)])
        if both.sum() == count - places and ahead[0] and (ahead == ahead[0]).all():
            return places, int(ahead[0])
    return None


def _carried(graph: Graph) -> list[tuple[Field, ...]]:
    """The field of each node along each axis."""
    axes = len(graph.sides)
    fields = [(Field(1, Fraction(1), 0),) * axes]
    for node, edges in list(zip(graph.nodes, graph.touches, strict=True))[1:]:
        joined = [Field(0, Fraction(0), 0, dense=node.global_statistics)] * axes
        for source, chains in edges:
            for axis, chain in enumerate(chains):
                field = fields[source][axis]
                for touch in chain:
                    field = field.touched(touch)
                joined[axis] = joined[axis].joined(field)
        fields.append(tuple(joined))
    return fields


class _Intervals:
    """First and last pixel that each place reads along an axis, within the image.

    Args:
        graph: of the network; it is walked only for the axes that are asked for.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._walks: dict[int, tuple[dict[int, Packed], ...]] = {}

    def size(self, number: int, axis: int, wanted: Fraction) -> tuple[int, bool]:
        """The largest field of a node, and whether it is free of the border's influence.

        Args:
            number: of the node.
            axis: of the image.
            wanted: how many places have to read neither the first nor the last pixel for these
                places alone to decide; 0 if no number is enough.
        """
        first, last, index = self._ends(number, axis)
        sizes = np.where(first <= last, last - first + 1, 0)
        inside = (first > 0) & (last < self._graph.sides[axis] - 1)
        dims = self._graph.map_dims(number)
        dim = dims[axis] if dims else None
        if dim is None or not wanted:
            return int(sizes.max()), False
        alike = np.asarray(inside.all(axis=tuple(d for d in range(inside.ndim) if d != dim)))
        kinds = index[dim]
        free = int((alike if kinds is None else alike[kinds]).sum()) >= wanted
        return int(sizes[inside].max() if free else sizes.max()), free

    def step(self, number: int, axis: int, dim: int) -> int | None:
        """By how many pixels what is read moves from place to place, if always by as many.

        Args:
            number: of the node.
            axis: of the image.
            dim: of the node's grid, along the axis.
        """
        first, last, index = self._ends(number, axis)
        others = tuple(d for d in range(first.ndim) if d != dim)
        ends = first.min(axis=others), last.max(axis=others)
        low, high = (one if index[dim] is None else one[index[dim]] for one in ends)
        inside = np.flatnonzero((low > 0) & (high < self._graph.sides[axis] - 1) & (low <= high))
        if len(inside) < 3 or inside[-1] - inside[0] >= len(inside):
            return None
        steps = set(np.diff(low[inside]).tolist()) | set(np.diff(high[inside]).tolist())
        return int(steps.pop()) if len(steps) == 1 and min(steps) > 0 else None

    def even(self, number: int, axis: int, field: Field) -> Field:
        """The field of torn places, if they all read alike all the same: they are joined again.

        Windows that were cut out of a map, for example, are a map again when they are put back. Of
        each place, what is read ends at the image's border and nowhere else.
        """
        dims, layout = self._graph.map_dims(number), self._graph.nodes[number].layout
        dim = dims[axis] if dims else None
        if not field.torn or dim is None or layout.grid[dim] != layout.shape[dim]:
            return field
        step = self.step(number, axis, dim)
        if step is None:
            return field
        first, last = self._by_place(number, axis, dim)
        moved = step * np.arange(first.shape[-1])
        start, end = int((first - moved).min()), int((last - moved).max())
        inside = np.maximum(start + moved, 0), np.minimum(end + moved, self._graph.sides[axis] - 1)
        if (first != inside[0]).any() or (last != inside[1]).any():
            return field
        concentric = field.concentric and not field.mixed
        return Field(end - start + 1, Fraction(step), start, concentric, dense=field.dense)

    def whole(self, number: int, axis: int) -> bool:
        """Whether each place that reads anything reads from the first pixel to the last."""
        first, last, _ = self._ends(number, axis)
        read = first <= last
        every = (first == 0) & (last == self._graph.sides[axis] - 1)
        return bool(read.any() and every[read].all())

    def _by_place(self, number: int, axis: int, dim: int) -> tuple[Grid, Grid]:
        """First and last pixel of each place along a dimension, which comes last."""
        first, last, index = self._ends(number, axis)
        kinds = slice(None) if index[dim] is None else index[dim]
        first, last = (np.moveaxis(one, dim, -1)[..., kinds] for one in (first, last))
        return first, last

    def _ends(self, number: int, axis: int) -> tuple[Grid, Grid, tuple[Indices | None, ...]]:
        """First and last pixel of each kind of place of a node, and the kinds."""
        if axis not in self._walks:
            start = self._start(axis)
            self._walks[axis] = tuple(self._graph.forward(start, a) for a in (LOWEST, HIGHEST))
        first, last = (walk[number] for walk in self._walks[axis])
        cores, index = refined(first, last)
        return *cores, index

    def _start(self, axis: int) -> Packed:
        """Each pixel's own coordinate along an axis."""
        found = Packed.filled(self._graph.nodes[0].layout.grid, LOWEST, 0)
        places = np.arange(self._graph.sides[axis], dtype=np.int64)
        shape = [-1 if dim == 2 + axis else 1 for dim in range(len(found.shape))]
        index = (None if dim == 2 + axis else one for dim, one in enumerate(found.index))
        return Packed(places.reshape(shape), tuple(index))


# --- the pixels of one unit ----------------------------------------------------------------------


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
        """First and last pixel that is read, for each axis; empty if none is."""
        if not self.mask.any():
            return ()
        return tuple((int(found.min()), int(found.max())) for found in np.nonzero(self.mask))

    @property
    def pixels(self) -> int:
        """Number of pixels that are read."""
        return int(self.mask.sum())

    @property
    def holes(self) -> int:
        """Number of pixels in the box that are not read."""
        inside = self.mask[tuple(slice(first, last + 1) for first, last in self.box)]
        return int((~inside).sum()) if self.box else 0

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it; for the mask, the share of each block that is read."""
        return {
            "node": self.node,
            "place": list(self.place),
            "pixels": self.pixels,
            "box": plain(self.box),
            "holes": self.holes,
            "mask": block_lists(self.mask),
        }


def pixels_read(
    graph: Graph, target: Target = None, place: Sequence[int] | None = None
) -> PixelsRead:
    """Find the set of pixels that one unit reads.

    Args:
        graph: of the network.
        target: the unit's node; by default the last feature map.
        place: of the unit: an index for each axis of the image, or for each dimension of the
            node's grid; by default the middle one.

    Raises:
        SettingsError: there is no such node or place.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> pixels_read(capture(nn.Conv1d(1, 1, 3), (1, 9)), place=(0,)).box
        ((0, 2),)
    """
    number = graph.find(target)[0]
    index = graph.middle(number) if place is None else tuple(place)
    read = graph.to_image({number: graph.ones(number, EXISTS, index)}, EXISTS)
    return PixelsRead(number, index, read.summed((0, 1)).whole())
