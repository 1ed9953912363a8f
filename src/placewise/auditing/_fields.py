"""Receptive fields along each axis, carried through a graph from the image on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from placewise.auditing._structure import image_sides, map_dims
from placewise.auditing._touches import Kind, Touch, touches
from placewise.graph import Graph
from placewise.ops import HIGHEST, LOWEST, AxisMap, Grid
from placewise.ops.axes import Affine


@dataclass(frozen=True)
class Field:
    """What a place reads along one axis.

    Attributes:
        size: of the field of windows in pixels; 0 where only dense relations lead to the axis.
        stride: from one place to the next in pixels; nominal where fields are not all alike.
        start: first pixel of place 0.
        aligned: whether all ways agree on stride and centre.
        torn: fields are not all alike, so that size and start say nothing.
        mixed: ways of different strides were joined, so that stride says nothing either.
        perhaps: places of axes that were merged were read all at once: all pixels, where these are
            all that is left of the image.
        period: pixels after which they are alike again; 0 if that is not known.
        dense: all pixels are read besides.
    """

    size: int
    stride: Fraction
    start: int
    aligned: bool = True
    torn: bool = False
    mixed: bool = False
    perhaps: bool = False
    period: int = 1
    dense: bool = False

    def touched(self, touch: Touch) -> Field:
        """The field after one step along its axis."""
        if not self.size:
            return self
        if touch.kind is Kind.DENSE:
            return replace(self, size=0, torn=False, mixed=False, perhaps=False, dense=True)
        if touch.map is None:
            perhaps = self.perhaps or touch.kind is Kind.MAYBE
            return replace(self, torn=True, perhaps=perhaps, period=0)
        affine = Affine(1, 0, 0) if touch.map.name == "repeat" else touch.map.affine
        if affine is None:
            return self._uneven(touch.map)
        stride = self.stride * affine.stride
        period = math.lcm(self.period, stride.numerator or 1)
        size = self.size + int((affine.extent - 1) * abs(self.stride))
        start = self.start + int(affine.start * self.stride)
        return replace(self, size=size, stride=stride, start=start, period=period)

    def _uneven(self, relation: AxisMap) -> Field:
        """The field after a step that does not treat all places alike."""
        found = recurrence(relation)
        if found is None:
            factor, period = Fraction(relation.read, max(1, relation.written)), 0
        else:
            factor = Fraction(found[1], found[0])
            period = math.lcm(self.period, (self.stride * found[1]).numerator)
        return replace(self, stride=self.stride * factor, torn=True, period=period)

    def joined(self, other: Field) -> Field:
        """The union of what two ways read."""
        dense = self.dense or other.dense
        if not self.size or not other.size:
            return replace(self if self.size else other, dense=dense)
        period = math.lcm(self.period, other.period)
        mixed = self.mixed or other.mixed or self.stride != other.stride
        perhaps = self.perhaps or other.perhaps
        if self.torn or other.torn or mixed:
            return Field(
                self.size,
                self.stride,
                self.start,
                aligned=False,
                torn=True,
                mixed=mixed,
                perhaps=perhaps,
                period=period,
                dense=dense,
            )
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        centred = 2 * self.start + self.size == 2 * other.start + other.size
        aligned = self.aligned and other.aligned and centred
        return Field(end - start, self.stride, start, aligned, period=period, dense=dense)


@lru_cache(maxsize=1024)
def recurrence(relation: AxisMap) -> tuple[int, int] | None:
    """After how many places a relation repeats itself, and how far on in what it reads.

    Places that read the first or the last place of the axis are let be: the border may be treated
    otherwise.

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


def carried(graph: Graph) -> list[tuple[Field, ...]]:
    """The field of each node along each axis."""
    axes = len(image_sides(graph))
    fields = [(Field(1, Fraction(1), 0),) * axes]
    for node in graph.nodes[1:]:
        joined = [Field(0, Fraction(0), 0, dense=node.global_statistics)] * axes
        for edge in node.edges:
            chains = touches(graph.nodes[edge.source].layout, edge, axes)
            for axis, chain in enumerate(chains):
                field = fields[edge.source][axis]
                for touch in chain:
                    field = field.touched(touch)
                joined[axis] = joined[axis].joined(field)
        fields.append(tuple(joined))
    return fields


class Intervals:
    """First and last pixel that each place reads along an axis, within the image.

    Args:
        graph: of the network; it is walked only for the axes that are asked for.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._walks: dict[int, tuple[list[Grid], list[Grid]]] = {}

    def size(self, number: int, axis: int, wanted: Fraction) -> tuple[int, bool]:
        """The largest field of a node, and whether the border does not cut it short.

        Args:
            number: of the node.
            axis: of the image.
            wanted: how many places in a row have to read neither the first nor the last pixel,
                so that these alone tell; 0 if any number would not do.
        """
        first, last = self._ends(number, axis)
        sizes = np.where(first <= last, last - first + 1, 0)
        inside = (first > 0) & (last < image_sides(self._graph)[axis] - 1)
        dims = map_dims(self._graph.nodes[number].layout, image_sides(self._graph))
        dim = dims[axis] if dims else None
        if dim is None or not wanted:
            return int(sizes.max()), False
        alike = inside.all(axis=tuple(d for d in range(inside.ndim) if d != dim))
        free = int(alike.sum()) >= wanted
        return int(sizes[inside].max() if free else sizes.max()), free

    def whole(self, number: int, axis: int) -> bool:
        """Whether each place of a node that reads anything reads from the first pixel to the last.

        Args:
            number: of the node.
            axis: of the image.
        """
        first, last = self._ends(number, axis)
        read = first <= last
        every = (first == 0) & (last == image_sides(self._graph)[axis] - 1)
        return bool(read.any() and every[read].all())

    def _ends(self, number: int, axis: int) -> tuple[Grid, Grid]:
        """First and last pixel of each place of a node."""
        if axis not in self._walks:
            self._walks[axis] = self._walked(axis)
        first, last = self._walks[axis]
        return first[number], last[number]

    def _walked(self, axis: int) -> tuple[list[Grid], list[Grid]]:
        grid = self._graph.nodes[0].layout.grid
        shape = [1] * len(grid)
        shape[2 + axis] = grid[2 + axis]
        places = np.arange(grid[2 + axis], dtype=np.int64).reshape(shape)
        start = np.broadcast_to(places, grid)
        return self._graph.forward(start, LOWEST), self._graph.forward(start, HIGHEST)
