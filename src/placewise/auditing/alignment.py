"""Stride-aligned sizes: whether some layer drops rows or columns at the end of an axis.

A window that reaches over k places and moves by s, on an axis of n places, padding included, leaves
the last (n − k) mod s places unread, unless sizes are rounded up. If it does, padding is used more
at one side than at the other, and all that follows is shifted. A size at which no layer leaves
anything is stride-aligned, or aligned for short.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from placewise.auditing._numbers import Finding, plain
from placewise.errors import SettingsError
from placewise.graph import OUTPUT, Graph
from placewise.graph.touches import Effect, Touch
from placewise.ops import AxisMap
from placewise.ops.axis_map import Affine

LONGEST_PERIOD = 1024


@dataclass(frozen=True)
class Leftover(Finding):
    """What a layer of windows leaves at the end of one axis.

    Attributes:
        node: number of the layer's node in the graph.
        layer: its submodule, or its own name.
        op: its operation.
        axis: of the image, 0 the first.
        length: places of the axis, padding included.
        kernel: places from the first to the last tap of a window.
        stride: from one window to the next.
        unused: places at the end that no window reads.
        real: number of these that are activations; the others are padding.
        overhang: places by which the last window reaches beyond the end, as it may if sizes are
            rounded up; nothing is dropped then, and the layer is aligned.

    Example:
        >>> Leftover(1, "conv1", "conv2d", 0, 230, 7, 2, unused=1, real=0, overhang=0).aligned
        False
    """

    node: int
    layer: str
    op: str
    axis: int
    length: int
    kernel: int
    stride: int
    unused: int
    real: int
    overhang: int

    @property
    def aligned(self) -> bool:
        """Whether no place is left unused."""
        return not self.unused


@dataclass(frozen=True)
class Alignment:
    """Whether the image's size is stride-aligned, and which sizes near it are.

    Attributes:
        size: of the image, for each axis.
        layers: every strided layer of windows, axis by axis, with what it leaves.
        nearest_aligned: for each axis the nearest aligned sizes, not above and not below; None
            if there is none within a period.
        step: for each axis, from one aligned size to the next; None if there is no next.
        stopped: the first layer beyond which some other sizes cannot be followed, because
            something there has a fixed size or cuts an axis; None if all can. For such sizes,
            the layers beyond it are not considered in `nearest_aligned`.
        missed: number of strided layers beyond it.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> found = alignment(capture(nn.Conv1d(1, 1, 7, stride=2, padding=3), (1, 224)))
        >>> found.aligned, found.nearest_aligned, found.step, found.layers[0].unused
        (False, ((223, 225),), (2,), 1)
    """

    size: tuple[int, ...]
    layers: tuple[Leftover, ...]
    nearest_aligned: tuple[tuple[int | None, int | None], ...]
    step: tuple[int | None, ...]
    stopped: str | None
    missed: int = 0

    @property
    def aligned(self) -> bool:
        """Whether all layers are aligned."""
        return all(layer.aligned for layer in self.layers)

    @property
    def misaligned(self) -> list[Leftover]:
        """The layers that leave something, with what they leave of each axis."""
        return [layer for layer in self.layers if not layer.aligned]

    @property
    def nearest(self) -> tuple[int | None, ...]:
        """The nearest aligned size for each axis, the larger one of two; None if there is none."""
        found = []
        for side, pair in zip(self.size, self.nearest_aligned, strict=True):
            known = [size for size in pair if size]
            found.append(min(known, key=lambda n: (abs(n - side), -n), default=None))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "size": list(self.size),
            "aligned": self.aligned,
            "layers": plain(self.layers),
            "nearest_aligned": plain(self.nearest_aligned),
            "step": list(self.step),
            "complete": self.stopped is None,
            "stopped": self.stopped,
            "missed": self.missed,
        }


@dataclass(frozen=True)
class SizeAlignment(Finding):
    """Whether an image of one size along each axis is stride-aligned.

    Attributes:
        size: of the image.
        aligned: whether the network takes it and all layers are aligned.
        misaligned_layers: number of layers that are not.
        possible: whether the network takes it, as far as can be known.

    Example:
        >>> SizeAlignment(224, aligned=False, misaligned_layers=1, possible=True).aligned
        False
    """

    size: int
    aligned: bool
    misaligned_layers: int
    possible: bool


def alignment(graph: Graph) -> Alignment:
    """Find which layers drop rows or columns, and the nearest sizes at which none does.

    Other sizes are walked through the graph of this size, with its amounts of padding. A network
    that computes them from the size (TensorFlow's "same") has other amounts at other sizes.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1))
        >>> alignment(capture(net, (1, 32, 37))).nearest_aligned
        ((29, 33), (37, 37))
    """
    walks = [_Walks(graph, axis) for axis in range(len(graph.sides))]
    layers = [left for walk in walks for left in walk.at(walk.side).left]
    nearest, steps = [], []
    for walk in walks:
        below = next(
            _aligned(walk, range(walk.side, max(0, walk.side - walk.period) - 1, -1)), None
        )
        above = next(_aligned(walk, range(walk.side, walk.side + walk.period + 1)), None)
        nearest.append((below, above))
        steps.append(_step(walk, below, above))
    stopped = next((walk.stopped for walk in walks if walk.stopped), None)
    ordered = tuple(sorted(layers, key=lambda left: (left.node, left.axis)))
    missed = {node for walk in walks for node in walk.missed}
    return Alignment(graph.sides, ordered, tuple(nearest), tuple(steps), stopped, len(missed))


def _aligned(walk: _Walks, sizes: Iterable[int]) -> Iterator[int]:
    return (size for size in sizes if walk.at(size).aligned)


def _step(walk: _Walks, below: int | None, above: int | None) -> int | None:
    """From one aligned size to the next."""
    if above is None:
        return None
    if below is not None and below < above:
        return above - below
    after = next(_aligned(walk, range(above + 1, above + walk.period + 1)), None)
    return None if after is None else after - above


def alignment_over(graph: Graph, sizes: Iterable[int]) -> tuple[SizeAlignment, ...]:
    """Find for many sizes how many layers drop rows or columns.

    Args:
        graph: of the network.
        sizes: of images that are as long along each axis.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> graph = capture(nn.Conv2d(1, 1, 4, stride=4), (1, 32, 32))
        >>> [one.size for one in alignment_over(graph, range(30, 42)) if one.aligned]
        [32, 36, 40]
    """
    walks = [_Walks(graph, axis) for axis in range(len(graph.sides))]
    found = []
    for size in sizes:
        walked = [walk.at(size) for walk in walks]
        misaligned = {left.node for one in walked for left in one.left if not left.aligned}
        aligned = all(one.aligned for one in walked)
        possible = all(one.possible for one in walked)
        found.append(SizeAlignment(size, aligned, len(misaligned), possible))
    return tuple(found)


# --- other sizes, walked through the graph -------------------------------------------------------


@dataclass(frozen=True)
class _Walk:
    """What happens to an axis of one length.

    Attributes:
        left: what strided layers of windows leave.
        possible: whether the network takes it, as far as can be known.
        stopped: the layer beyond which it could not be followed.
    """

    left: tuple[Leftover, ...]
    possible: bool
    stopped: str | None

    @property
    def aligned(self) -> bool:
        """Whether the network takes it and all layers are aligned."""
        return self.possible and all(left.aligned for left in self.left)


@dataclass(frozen=True)
class _Row:
    """The places of an axis at some point of the walk.

    Attributes:
        length: number of places; None if it follows that of the rows which it meets.
        tail: number of places at the end that are padding.
        same: whether the length is that of the captured graph.
        sure: whether every step was one that adapts to the size, as far as the graph can say.
            A slice or a pad by itself, or a resize to a given size, may or may not do so.
    """

    length: int | None
    tail: int
    same: bool
    sure: bool = True


class _Stopped(Exception):
    """The walk cannot go on."""


class _Walks:
    """Walks lengths of one axis of the image through a graph.

    Args:
        graph: of the network.
        axis: of the image.
    """

    def __init__(self, graph: Graph, axis: int) -> None:
        self.side = graph.sides[axis]
        self._graph, self._axis = graph, axis
        self._edges = {
            number: [(source, chains[axis]) for source, chains in graph.touches[number]]
            for number in sorted(graph.ancestors(graph.find(OUTPUT)))
        }
        self._walks: dict[int, _Walk] = {}

    @property
    def period(self) -> int:
        """Number of sizes after which the leftovers of windows repeat."""
        strides = {0: 1}
        for number, edges in self._edges.items():
            found = [strides[source] * math.prod(map(_stride, chain)) for source, chain in edges]
            strides.setdefault(number, math.lcm(*found))
        return min(math.lcm(*strides.values()), LONGEST_PERIOD)

    def at(self, size: int) -> _Walk:
        """What happens to an axis of this length."""
        if size not in self._walks:
            self._walks[size] = self._walk(size)
        return self._walks[size]

    @property
    def stopped(self) -> str | None:
        """The first layer at which a walk so far, or that of the next period, stopped."""
        self.at(self.side + self.period)
        return next((walk.stopped for walk in self._walks.values() if walk.stopped), None)

    @property
    def missed(self) -> set[int]:
        """Strided layers that some walk so far did not reach, because it stopped before them."""
        own = {left.node for left in self.at(self.side).left}
        stopped = [walk for walk in self._walks.values() if walk.stopped and walk.possible]
        return {node for walk in stopped for node in own - {left.node for left in walk.left}}

    def _walk(self, size: int) -> _Walk:
        same = size == self.side
        rows: dict[int, _Row] = {0: _Row(size, 0, same)}
        left: list[Leftover] = []
        stopped: str | None = None
        for number, edges in self._edges.items():
            if number == 0 or any(source not in rows for source, _ in edges):
                continue
            try:
                ends = [_Step(rows[source], same).through(chain) for source, chain in edges]
                row = _met([end.row for end in ends], same)
                alone = self._graph.nodes[number].role in ("slice", "pad")
                rows[number] = replace(row, sure=row.sure and not alone)
            except _Stopped:
                stopped = stopped or self._graph.label(number)
            except SettingsError:
                return _Walk(tuple(left), False, stopped)
            else:
                left += [self._left(number, *found) for end in ends for found in end.windows]
        return _Walk(tuple(left), size > 0, stopped)

    def _left(self, number: int, relation: AxisMap, affine: Affine, tail: int) -> Leftover:
        reached = (relation.written - 1) * affine.stride + affine.extent
        return Leftover(
            node=number,
            layer=self._graph.label(number),
            op=self._graph.nodes[number].op,
            axis=self._axis,
            length=relation.read,
            kernel=affine.extent,
            stride=affine.stride,
            unused=relation.unused,
            real=max(0, relation.unused - tail),
            overhang=max(0, reached - relation.read),
        )


class _Step:
    """Follows a row of places through the steps of one edge.

    Args:
        row: of what is read.
        same: whether the image has the size of the captured graph.
    """

    def __init__(self, row: _Row, same: bool) -> None:
        self.row, self._same = row, same
        self._pooled: tuple[_Row, int] | None = None
        self.windows: list[tuple[AxisMap, Affine, int]] = []

    def through(self, chain: tuple[Touch, ...]) -> _Step:
        """After all steps."""
        for touch in chain:
            if touch.map is None:
                if not self.row.same:
                    raise _Stopped
                self.row = _Row(None, 0, True)
            elif touch.map.read == 1 and touch.map.resized is None:
                self._repeated(touch.map)
            else:
                self._along(touch.map, dense=touch.effect is Effect.DENSE)
        return self

    def _repeated(self, relation: AxisMap) -> None:
        """One place becomes many: as many as were pooled, else as many as others have."""
        pooled, read = self._pooled or (_Row(None, 0, self._same), relation.written)
        self.row = pooled if read == relation.written else _Row(None, 0, self._same)

    def _along(self, captured: AxisMap, *, dense: bool) -> None:
        row, relation = self.row, captured
        if dense:
            self._pooled = row, captured.read
        if not row.same:
            if row.length is None or captured.resized is None:
                raise _Stopped
            relation = captured.resized(row.length)
        affine, tail = relation.affine, 0
        if affine and affine.extent == affine.stride == 1:
            tail = max(0, row.tail + relation.written - relation.read + affine.start)
        if affine and affine.stride > 1 and relation.name == "window":
            self.windows.append((relation, affine, row.tail))
        same = relation.written == captured.written
        sure = row.sure and (self._same or captured.resized is not None)
        self.row = _Row(relation.written, tail, same, sure)


def _met(rows: list[_Row], same: bool) -> _Row:
    """The row where several meet.

    Raises:
        SettingsError: their lengths differ.
        _Stopped: their lengths may differ.
    """
    known = [row for row in rows if row.length is not None]
    if not known:
        return rows[0] if rows else _Row(None, 0, same)
    sure = all(row.sure for row in known)
    if len({row.length for row in known}) > 1 and not all(row.same for row in known):
        if not sure:
            raise _Stopped
        raise SettingsError(f"maps of {[row.length for row in known]} places meet")
    return replace(known[0], tail=min(row.tail for row in known), sure=sure)


def _stride(touch: Touch) -> int:
    """How many places of what is read lie between two places of what is written."""
    strided = touch.map is not None and touch.map.name in ("window", "slice")
    return touch.map.affine.stride if strided and touch.map and touch.map.affine else 1
