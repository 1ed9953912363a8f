"""Images of other sizes, walked through the graph that was captured at one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from placewise.auditing._structure import image_sides, label, on_the_way, outputs
from placewise.auditing._touches import Kind, Touch, touches
from placewise.errors import SettingsError
from placewise.graph import Graph
from placewise.ops import AxisMap
from placewise.ops.axes import Affine

LONGEST_PERIOD = 1024


@dataclass(frozen=True)
class Leftover:
    """What a layer of windows leaves at the end of one axis.

    Attributes:
        node: its number in the graph.
        layer: its submodule, or its own name.
        op: its operation.
        axis: of the image, 0 the first.
        length: places of the axis, padding included.
        kernel: places from the first to the last tap of a window.
        stride: from one window to the next.
        unused: places at the end that no window reads.
        real: of these, how many are activations; the others are padding.
        overhang: places by which the last window reaches beyond the end, as it may where sizes are
            rounded up; nothing is dropped then, so that the layer is even.

    Example:
        >>> Leftover(1, "conv1", "conv2d", 0, 230, 7, 2, unused=1, real=0, overhang=0).even
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
    def even(self) -> bool:
        """Whether no place is left unused."""
        return not self.unused

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Walk:
    """What happens to an axis of one length.

    Attributes:
        left: what strided layers of windows leave.
        possible: whether the network takes it, as far as can be said.
        stopped: the layer beyond which it could not be followed.
    """

    left: tuple[Leftover, ...]
    possible: bool
    stopped: str | None

    @property
    def even(self) -> bool:
        """Whether the network takes it and no layer is uneven."""
        return self.possible and all(left.even for left in self.left)


@dataclass(frozen=True)
class _Row:
    """The places of an axis at some point of the walk.

    Attributes:
        length: how many; None where as many as others have that it meets.
        tail: how many of them, at the end, are padding.
        same: whether there are as many as when the graph was captured.
        sure: whether nothing is on the way (a slice or a pad by itself, a resize to a given size)
            of which the graph does not tell whether it was calculated from the size.
    """

    length: int | None
    tail: int
    same: bool
    sure: bool = True


class _Stopped(Exception):
    """The walk cannot go on."""


class Sizes:
    """Walks lengths of one axis of the image through a graph.

    Args:
        graph: of the network.
        axis: of the image.
    """

    def __init__(self, graph: Graph, axis: int) -> None:
        self._graph, self._axis = graph, axis
        self._side = image_sides(graph)[axis]
        axes = len(image_sides(graph))
        self._edges = {
            number: [
                (edge.source, touches(graph.nodes[edge.source].layout, edge, axes)[axis])
                for edge in graph.nodes[number].edges
            ]
            for number in sorted(on_the_way(graph, outputs(graph)))
        }
        self._walks: dict[int, Walk] = {}

    @property
    def period(self) -> int:
        """What windows leave repeats itself after so many sizes."""
        strides = {0: 1}
        for number, edges in self._edges.items():
            found = [strides[source] * math.prod(map(_stride, chain)) for source, chain in edges]
            strides.setdefault(number, math.lcm(*found))
        return min(math.lcm(*strides.values()), LONGEST_PERIOD)

    def at(self, size: int) -> Walk:
        """What happens to an axis of this length."""
        if size not in self._walks:
            self._walks[size] = self._walk(size)
        return self._walks[size]

    @property
    def stopped(self) -> str | None:
        """The first layer at which a walk up to now, or that of the next period, stopped."""
        self.at(self._side + self.period)
        return next((walk.stopped for walk in self._walks.values() if walk.stopped), None)

    @property
    def missed(self) -> set[int]:
        """Strided layers that some walk up to now did not reach, since it stopped before them."""
        own = {left.node for left in self.at(self._side).left}
        stopped = [walk for walk in self._walks.values() if walk.stopped and walk.possible]
        return {node for walk in stopped for node in own - {left.node for left in walk.left}}

    def _walk(self, size: int) -> Walk:
        same = size == self._side
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
                stopped = stopped or label(self._graph, number)
            except SettingsError:
                return Walk(tuple(left), False, stopped)
            else:
                left += [self._left(number, *found) for end in ends for found in end.windows]
        return Walk(tuple(left), size > 0, stopped)

    def _left(self, number: int, relation: AxisMap, affine: Affine, tail: int) -> Leftover:
        reached = (relation.written - 1) * affine.stride + affine.extent
        return Leftover(
            node=number,
            layer=label(self._graph, number),
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
        same: whether the image is as large as when the graph was captured.
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
                self._along(touch.map, dense=touch.kind is Kind.DENSE)
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
        SettingsError: they are not of one length.
        _Stopped: perhaps they are not.
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
    """How many places of what is read a place of what is written moves on."""
    strided = touch.map is not None and touch.map.name in ("window", "slice")
    return touch.map.affine.stride if strided and touch.map and touch.map.affine else 1
