"""Images of other sizes, walked through a graph: what windows and resizes do to each length.

A walk takes a length along one axis through the operations of a graph that was captured at another
size. It is fast, but it only guesses what a network calculates from the size: to which length it
resizes, and how much it pads. What a walk finds is therefore checked on a graph of that size before
anything is recommended: see `placewise.auditing.advice`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from placewise.auditing._numbers import Finding
from placewise.errors import SettingsError
from placewise.graph import OUTPUT, Graph
from placewise.graph.touches import Effect, Touch
from placewise.ops import AxisMap
from placewise.ops.axes import window
from placewise.ops.axis_map import Affine

LONGEST_PERIOD = 1024

RESIZES = ("nearest", "interpolation", "antialiased resize")
"""Relations that make an axis longer or shorter; `spread`, of transposed convolutions, is apart."""


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
            rounded up.
        before: places of padding that windows read before the first activation; negative if
            activations are cut off there.
        after: the same after the last activation, with what is left over and what overhangs.

    Example:
        >>> Leftover(1, "conv1", "conv2d", 0, 230, 7, 2, 1, 0, 0, before=3, after=2).aligned
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
    before: int
    after: int

    @property
    def aligned(self) -> bool:
        """Whether windows reach equally far beyond both ends."""
        return self.before == self.after


@dataclass(frozen=True)
class Resized(Finding):
    """What a resize, or the crop or padding after one, does to the two ends of an axis.

    Attributes:
        node: number of its node in the graph.
        layer: its submodule, or its own name.
        op: its operation.
        axis: of the image, 0 the first.
        length: places that are read.
        written: places of the result.
        aligned: whether both ends are treated alike: the mirror image of an axis gives the mirror
            image of the result. A nearest-neighbour resize of 5 places to 9 repeats all but the
            last.

    Example:
        >>> Resized(4, "up", "upsample_nearest2d", 0, 5, 9, aligned=False).to_dict()["written"]
        9
    """

    node: int
    layer: str
    op: str
    axis: int
    length: int
    written: int
    aligned: bool


@dataclass(frozen=True)
class Walk:
    """What happens to an axis of one length.

    Attributes:
        left: what strided layers of windows leave.
        resized: what resizes do.
        possible: whether the network takes it, as far as can be known.
        stopped: the layer beyond which it could not be followed.
    """

    left: tuple[Leftover, ...]
    resized: tuple[Resized, ...]
    possible: bool
    stopped: str | None

    @property
    def misaligned(self) -> list[Leftover | Resized]:
        """What treats the two ends of the axis differently."""
        layers: tuple[Leftover | Resized, ...] = (*self.left, *self.resized)
        return [layer for layer in layers if not layer.aligned]

    @property
    def aligned(self) -> bool:
        """Whether the network takes it and all layers are aligned."""
        return self.possible and not self.misaligned


@dataclass(frozen=True)
class _Row:
    """The places of an axis at some point of the walk.

    Attributes:
        length: number of places; None if it follows that of the rows which it meets.
        head: number of places at the start that are padding; negative if places were cut off.
        tail: the same at the end.
        same: whether the length is that of the captured graph.
        sure: whether every step was one that adapts to the size, as far as the graph can say.
            A slice or a pad by itself, or a resize to a given size, may or may not do so.
        resized: whether it was made by a resize, since the last strided window.
    """

    length: int | None
    head: int
    tail: int
    same: bool
    sure: bool = True
    resized: bool = False


class _Slice(NamedTuple):
    """A strided slice of a row: its node, its relation, and the row that it reads."""

    node: int
    map: AxisMap
    row: _Row


class _Stopped(Exception):
    """The walk cannot go on."""


class Walks:
    """Walks lengths of one axis of the image through a graph.

    Args:
        graph: of the network.
        axis: of the image.
        computed: whether a pad before a strided window is as large as TensorFlow's "same" padding
            at each size; if not, it is as large as in the graph.
    """

    def __init__(self, graph: Graph, axis: int, *, computed: bool = False) -> None:
        self.side = graph.sides[axis]
        self._graph, self._axis, self._computed = graph, axis, computed
        self._edges = {
            number: [(source, chains[axis]) for source, chains in graph.touches[number]]
            for number in sorted(graph.ancestors(graph.find(OUTPUT)))
        }
        self._to_sizes = {
            number
            for number, edges in self._edges.items()
            if any(_to_size(touch) for _, chain in edges for touch in chain)
        }
        self._walks: dict[int, Walk] = {}
        self._own: dict[int, _Row] = {}
        self.at(self.side)

    @property
    def computes(self) -> bool:
        """Whether some pad may be one that the network computes from the size."""
        return any(
            self._matches(self._own.get(source), touch)
            for edges in self._edges.values()
            for source, chain in edges
            for touch in chain[:1]
        )

    @property
    def padded(self) -> set[int]:
        """Lengths to which the image itself is padded, e.g. to a multiple, before any window."""
        rows = [row for row in self._own.values() if row.length]
        found = {
            row.length or 0 for row in rows if (row.length or 0) - row.head - row.tail == self.side
        }
        return found - {self.side}

    @property
    def period(self) -> int:
        """Number of sizes after which the leftovers of windows repeat."""
        strides = {0: 1}
        for number, edges in self._edges.items():
            found = [strides[source] * math.prod(map(_stride, chain)) for source, chain in edges]
            strides.setdefault(number, math.lcm(*found))
        given = 2 if self._to_sizes else 1  # they are aligned at multiples of what they read
        return min(given * math.lcm(*strides.values()), LONGEST_PERIOD)

    def at(self, size: int) -> Walk:
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

    def _walk(self, size: int) -> Walk:
        same = size == self.side
        rows: dict[int, _Row] = {0: _Row(size, 0, 0, same)}
        left: list[Leftover] = []
        resized: list[Resized] = []
        slices: dict[tuple[int, int], list[_Slice]] = {}
        stopped: str | None = None
        for number, edges in self._edges.items():
            if number == 0 or any(source not in rows for source, _ in edges):
                continue
            ends = [self._step(number, rows, source, same) for source, _ in edges]
            try:
                for end, (_, chain) in zip(ends, edges, strict=True):
                    end.through(chain)
                row = _met([end.row for end in ends], same)
                alone = self._graph.nodes[number].role in ("slice", "pad")
                rows[number] = replace(row, sure=row.sure and not alone)
            except _Stopped:
                stopped = stopped or self._graph.label(number)
            except SettingsError:
                return Walk(tuple(left), tuple(resized), False, stopped)
            else:
                resized += [self._resized(number, *found) for end in ends for found in end.resizes]
                resized += [self._resized(number, *found) for found in _crooked(ends)]
            left += [self._left(number, *found) for end in ends for found in end.windows]
            for end, (source, _) in zip(ends, edges, strict=True):
                for relation, row in end.slices:
                    group = slices.setdefault((self._origin(source), relation.read), [])
                    group.append(_Slice(number, relation, row))
        left += [self._rest(group) for group in slices.values()]
        if same:
            self._own = rows
        return Walk(tuple(left), tuple(resized), size > 0, stopped)

    def _step(self, number: int, rows: dict[int, _Row], source: int, same: bool) -> _Step:
        """A follower of one edge, which knows to which length a resize to a given size goes."""
        wanted: dict[int, int] = {}
        if not same and number in self._to_sizes:
            for earlier, own in self._own.items():
                row = rows.get(earlier)
                if earlier < number and own.length and row is not None and row.length:
                    wanted[own.length] = row.length
        computed = self._own.get(source) if self._computed and not same else None
        return _Step(rows[source], same, wanted, computed)

    @staticmethod
    def _matches(own: _Row | None, touch: Touch) -> bool:
        return _same_margins(own, touch) is not None

    def _left(self, number: int, relation: AxisMap, affine: Affine, row: _Row) -> Leftover:
        reached = (relation.written - 1) * affine.stride + affine.extent
        overhang = 0 if relation.sliding else max(0, reached - relation.read)
        return Leftover(
            node=number,
            layer=self._graph.label(number),
            op=self._graph.nodes[number].op,
            axis=self._axis,
            length=relation.read,
            kernel=affine.extent,
            stride=affine.stride,
            unused=relation.unused,
            real=max(0, relation.unused - max(0, row.tail)),
            overhang=overhang,
            before=row.head,
            after=row.tail - relation.unused + overhang,
        )

    def _origin(self, number: int) -> int:
        """The tensor whose places along this axis a node has, one by one."""
        while len(self._edges[number]) == 1 and not self._edges[number][0][1]:
            number = self._edges[number][0][0]
        return number

    def _rest(self, group: Sequence[_Slice]) -> Leftover:
        """What no strided slice of one tensor reads at the ends of the axis."""
        number, relation, row = group[0]
        starts = [int(one.map.ins[0]) for one in group]
        steps = [one.map.affine.stride for one in group if one.map.affine]
        unused = relation.read - 1 - max(int(one.map.ins[-1]) for one in group)
        affine = Affine(max(starts) - min(starts) + 1, min(steps), min(starts))
        whole = replace(relation, unused=unused, sliding=affine)
        return self._left(number, whole, affine, replace(row, head=row.head - min(starts)))

    def _resized(self, number: int, read: int, written: int, aligned: bool) -> Resized:
        node = self._graph.nodes[number]
        label = self._graph.label(number)
        return Resized(number, label, node.op, self._axis, read, written, aligned)


class AllWalks:
    """The walks of all axes of a graph, each made once however often it is asked for.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> walks = AllWalks(capture(nn.Conv1d(1, 1, 3, stride=2), (1, 9)))
        >>> walks.of(0) is walks.of(0), walks.of(0).at(10).aligned
        (True, False)
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._made: dict[tuple[int, bool], Walks] = {}

    def of(self, axis: int, *, computed: bool = False) -> Walks:
        """The walks along one axis of the image; see `Walks`."""
        if (axis, computed) not in self._made:
            self._made[axis, computed] = Walks(self.graph, axis, computed=computed)
        return self._made[axis, computed]

    def every(self, *, computed: bool = False) -> list[Walks]:
        """The walks along each axis."""
        return [self.of(axis, computed=computed) for axis in range(len(self.graph.sides))]


class _Step:
    """Follows a row of places through the steps of one edge.

    Args:
        row: of what is read.
        same: whether the image has the size of the captured graph.
        lengths: of rows now, by what they are in the captured graph: a resize to a given size goes
            to the length that the last such row has.
        computed: the row of what is read in the captured graph, if pads before strided windows are
            computed from the size.
    """

    def __init__(
        self, row: _Row, same: bool, lengths: dict[int, int], computed: _Row | None = None
    ) -> None:
        self.row, self._same = row, same
        self._lengths, self._computed = lengths, computed
        self._pooled: tuple[_Row, int] | None = None
        self.windows: list[tuple[AxisMap, Affine, _Row]] = []
        self.resizes: list[tuple[int, int, bool]] = []
        self.slices: list[tuple[AxisMap, _Row]] = []

    def through(self, chain: tuple[Touch, ...]) -> _Step:
        """After all steps."""
        spread: int | None = None
        for place, touch in enumerate(chain):
            if touch.map is None:
                if not self.row.same:
                    raise _Stopped
                if touch.pieces and self.row.length and self.row.head != self.row.tail:
                    cut = window(self.row.length, touch.pieces, stride=touch.pieces)
                    self.windows.append((cut, Affine(touch.pieces, touch.pieces, 0), self.row))
                self.row = _Row(None, 0, 0, True)
            elif touch.map.read == 1 and touch.map.resized is None:
                self._repeated(touch.map)
            else:
                if touch.map.name == "spread" and self.row.length:
                    spread = self.row.length
                if place == 0:
                    self._pad_anew(touch)
                self._along(touch.map, dense=touch.effect is Effect.DENSE)
        if spread is not None and self.row.length:
            self.resizes.append((spread, self.row.length, self.row.head == self.row.tail))
            self.row = replace(self.row, head=0, tail=0, resized=True)
        return self

    def _repeated(self, relation: AxisMap) -> None:
        """One place becomes many: as many as were pooled, else as many as others have."""
        pooled, read = self._pooled or (_Row(None, 0, 0, self._same), relation.written)
        self.row = pooled if read == relation.written else _Row(None, 0, 0, self._same)

    def _pad_anew(self, touch: Touch) -> None:
        """Pad as TensorFlow does for this length, if the network did so in the captured graph."""
        row, affine = self.row, touch.map.affine if touch.map else None
        if _same_margins(self._computed, touch) is None or row.length is None or affine is None:
            return
        raw = row.length - row.head - row.tail
        head, tail = same_padding(raw, affine.extent, affine.stride)
        self.row = replace(row, length=raw + head + tail, head=head, tail=tail, same=False)

    def _along(self, captured: AxisMap, *, dense: bool) -> None:
        row, relation = self.row, captured
        if dense:
            self._pooled = row, captured.read
        if captured.resized is None and captured.name in RESIZES and not self._same:
            self._to_length(captured)
            return
        if not row.same:
            if row.length is None or captured.resized is None:
                raise _Stopped
            relation = captured.resized(row.length)
        affine, head, tail, resized = relation.affine, 0, 0, row.resized
        if affine and affine.extent == affine.stride == 1:
            head = row.head - affine.start
            tail = row.tail + relation.written - relation.read + affine.start
        windows = affine if relation.name == "window" else relation.sliding
        if windows and windows.stride > 1:
            self.windows.append((relation, windows, row))
            resized = False
        if relation.name == "slice" and affine and affine.stride > 1 and len(relation.ins):
            self.slices.append((relation, row))
        if relation.name in RESIZES and relation.read != relation.written:
            self.resizes.append((relation.read, relation.written, mirrored(relation)))
            resized = True
        same = relation.written == captured.written
        sure = row.sure and (self._same or captured.resized is not None)
        self.row = _Row(relation.written, head, tail, same, sure, resized)

    def _to_length(self, captured: AxisMap) -> None:
        """A resize to a given size."""
        length, written = self.row.length, self._lengths.get(captured.written)
        if length is None or written is None:
            raise _Stopped
        if length != written:
            aligned = captured.name != "nearest" or not written % length
            self.resizes.append((length, written, aligned))
        self.row = _Row(written, 0, 0, written == captured.written, False, True)


def same_padding(length: int, extent: int, stride: int) -> tuple[int, int]:
    """Padding before and after an axis by TensorFlow's rule "same": ⌈n/s⌉ windows, odd one behind.

    Args:
        length: n, of the axis without padding.
        extent: of a window.
        stride: s, from one window to the next.

    Example:
        >>> same_padding(224, 3, 2), same_padding(225, 3, 2)
        ((0, 1), (1, 1))
    """
    total = max(0, (-(-length // stride) - 1) * stride + extent - length)
    return total // 2, total - total // 2


def _same_margins(own: _Row | None, touch: Touch) -> tuple[int, int] | None:
    """The padding of a row, if it is that of `same_padding` for a strided window that reads it."""
    affine = touch.map.affine if touch.map else None
    if own is None or own.length is None or affine is None or touch.map is None:
        return None
    if touch.map.name != "window" or affine.stride == 1 or own.head < 0 or not own.tail:
        return None
    expected = same_padding(own.length - own.head - own.tail, affine.extent, affine.stride)
    return expected if expected == (own.head, own.tail) else None


def mirrored(relation: AxisMap) -> bool:
    """Whether both ends are treated alike: the mirror image of every pair is a pair.

    Example:
        >>> from placewise.ops.rules.resizes import nearest
        >>> mirrored(nearest(4, 8)), mirrored(nearest(5, 9))
        (True, False)
    """
    outs, ins = relation.written - 1 - relation.outs, relation.read - 1 - relation.ins
    order = np.lexsort((ins, outs))
    same = np.array_equal(outs[order], relation.outs)
    return bool(same and np.array_equal(ins[order], relation.ins))


def _crooked(ends: list[_Step]) -> list[tuple[int, int, bool]]:
    """Maps that were cropped or padded by unequal amounts to meet one that was resized."""
    rows = [end.row for end in ends if end.row.length is not None]
    if len(rows) < 2 or not any(row.resized for row in rows):
        return []
    uneven = [row for row in rows if row.head != row.tail]
    return [((row.length or 0) - row.head - row.tail, row.length or 0, False) for row in uneven]


def _met(rows: list[_Row], same: bool) -> _Row:
    """The row where several meet.

    Raises:
        SettingsError: their lengths differ.
        _Stopped: their lengths may differ.
    """
    known = [row for row in rows if row.length is not None]
    if not known:
        return rows[0] if rows else _Row(None, 0, 0, same)
    sure = all(row.sure for row in known)
    if len({row.length for row in known}) > 1 and not all(row.same for row in known):
        if not sure:
            raise _Stopped
        raise SettingsError(f"maps of {[row.length for row in known]} places meet")
    return replace(
        known[0],
        head=min(row.head for row in known),
        tail=min(row.tail for row in known),
        sure=sure,
        resized=any(row.resized for row in known),
    )


def _to_size(touch: Touch) -> bool:
    """Whether a step is a resize to a given size."""
    return touch.map is not None and touch.map.name in RESIZES and touch.map.resized is None


def _stride(touch: Touch) -> int:
    """How many places of what is read lie between two places of what is written."""
    relation = touch.map
    if relation is None:
        return 1
    affine = relation.affine if relation.name in ("window", "slice") else relation.sliding
    return affine.stride if affine else 1
