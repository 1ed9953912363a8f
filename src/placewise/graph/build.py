"""From calls to nodes, by the table of rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from placewise.errors import PlacewiseError
from placewise.graph.graph import Graph, Node
from placewise.ops import (
    EXISTS,
    Algebra,
    Along,
    Call,
    Edge,
    Grid,
    Layout,
    Operand,
    Operator,
    Outcome,
    Route,
    Status,
    Step,
    Unplaced,
    entry,
    everything,
)
from placewise.ops.axes import place
from placewise.ops.layout import Dimension, axis_of, dimension, size_of


@dataclass(frozen=True)
class Kept(Step):
    """Keeps some places and clears the others."""

    places: Grid = field(repr=False)

    def forward(self, grid: Grid, algebra: Algebra, fill: object = None) -> Grid:
        """Along the network."""
        return np.where(self.places, grid, algebra.filled(grid.shape))

    def adjoint(self, grid: Grid, algebra: Algebra) -> Grid:
        """Against the network."""
        return self.forward(grid, algebra)


@dataclass(frozen=True)
class Reversed(Step):
    """An operator in the other direction: a write to a view changes what the view reads."""

    operator: Operator

    def forward(self, grid: Grid, algebra: Algebra, fill: object = None) -> Grid:
        """Along the network."""
        return self.operator.adjoint(grid, algebra)

    def adjoint(self, grid: Grid, algebra: Algebra) -> Grid:
        """Against the network."""
        return self.operator.forward(grid, algebra)


@dataclass(frozen=True)
class Part:
    """A view of a tensor.

    Attributes:
        operator: from the tensor to the view.
        layout: of the view.
        exact: whether the view shows exactly that.
    """

    operator: Operator
    layout: Layout
    exact: bool


Slice = tuple[int, int, int]
"""A tensor, a dimension of it, and a place along that, or a number of places."""


class Builder:
    """Adds one node for each call that depends on the image.

    Args:
        shape: (batch, channels, *space) of the image.
        per_channel: whether to count channels apart.

    Example:
        >>> builder = Builder((1, 3, 8, 8))
        >>> builder.add("relu", "", {"self": builder.image}, (1, 3, 8, 8)).node
        1
    """

    def __init__(self, shape: Sequence[int], *, per_channel: bool = False) -> None:
        self.per_channel = per_channel
        layout = Layout.image(shape, per_channel=per_channel)
        self.image = Operand(0, layout)
        self._nodes = [Node("image", "image", "image", "", layout, (), Status.EXACT)]
        self._names: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._sliced: dict[int | None, list[frozenset[Slice]]] = {}

    def add(
        self, op: str, module: str, given: dict[str, Any], shape: Sequence[int], output: int = 0
    ) -> Operand:
        """Add the node of a call.

        Args:
            op: name in ATen without overload, or "namespace::name".
            module: dotted path of the submodule that runs it.
            given: arguments by name.
            shape: of the tensor that it returns.
            output: the position of that tensor among its results.
        """
        call = Call(op, given, tuple(shape), output, self.per_channel, self._slices_of(given))
        role, found, note = self._by_the_table(call)
        if found.status is Status.GUESSED:
            self._unknown[op] += 1
        return self._node(op, role, module, found, note)

    def side(self, op: str, module: str, given: dict[str, Any], shape: Sequence[int]) -> Operand:
        """Add the node of a tensor that a call writes to besides what it gives: a bound."""
        status = Status.AT_MOST if entry(op) is not None else Status.GUESSED
        self._unknown.update([op] if status is Status.GUESSED else [])
        call = Call(op, given, tuple(shape), 0, self.per_channel)
        return self._node(f"{op} (what it writes)", "everything", module, everything(call, status))

    def follow(self, op: str, given: dict[str, Any], shape: Sequence[int], output: int) -> Outcome:
        """The outcome of a call, without a node."""
        return self._by_the_table(Call(op, given, tuple(shape), output, self.per_channel))[1]

    def blank(
        self, module: str, shape: Sequence[int], written: Operand, layout: Layout | None = None
    ) -> Operand:
        """Add the node of a constant that is about to be written to.

        Args:
            module: dotted path of the submodule that writes.
            shape: of the constant.
            written: what is written to a part of it; the layout is guessed from it.
            layout: if it is known.
        """
        found = Outcome(layout or self._guessed(shape, written), ())
        return self._node("constant", "constant", module, found)

    def write(self, module: str, whole: Operand, part: Part, written: Operand) -> Operand:
        """Add the node of a tensor after a write to a part of it.

        Args:
            module: dotted path of the submodule that writes.
            whole: the tensor before the write.
            part: the view that is written to.
            written: the new contents of the part.
        """
        route = Route(written.layout, per_channel=self.per_channel).like(part.layout)
        came = route.operator().forward(EXISTS.filled(written.layout.grid, True), EXISTS)
        if came.shape != part.layout.grid:
            self._unknown["write"] += 1
            call = Call("write", {"self": whole, "src": written}, whole.shape, 0, self.per_channel)
            return self._node("write", "write", module, everything(call, Status.GUESSED))
        layout = whole.layout
        back = _put_back(part.operator)
        if back is None:
            steps = (*route.operator().steps, Reversed(part.operator))
        else:
            route.layout = _told(route.layout, written.layout)
            for step in back:
                size, own = step.map.written, step.axis
                slices = () if own is None else dimension(size, place=True, axis=own)
                route.along(step.dim, step.map, slices)
            steps, layout = route.operator().steps, _told(layout, route.layout)
        edges = [Edge(written.node, Operator(steps))]
        changed = part.operator.adjoint(EXISTS.filled(part.layout.grid, True), EXISTS)
        if not part.exact or _depth(part.layout) < _depth(layout):
            edges.append(Edge(whole.node, Operator()))
            layout = _blurred(layout)
        elif not changed.all():
            edges.append(Edge(whole.node, Operator((Kept(~changed),))))
        status = Status.EXACT if part.exact and not route.bound else Status.AT_MOST
        return self._node("write", "write", module, Outcome(layout, tuple(edges), status))

    def graph(self, outputs: Sequence[int], capture: str, why: str = "") -> Graph:
        """The graph of all nodes up to here."""
        unknown = dict(self._unknown)
        return Graph(tuple(self._nodes), tuple(outputs), capture, unknown, why, self.per_channel)

    def _slices_of(self, given: dict[str, Any]) -> Dimension:
        """The places of which the tensors of a list are slices, in order or reversed.

        They are those of an axis of the image, or of several that were merged. Each slice may read
        those before it as well, as a recurrent network does.
        """
        parts = given.get("tensors")
        if not isinstance(parts, list | tuple) or len(parts) < 2:
            return ()
        if not all(isinstance(part, Operand) for part in parts):
            return ()
        for axis, side in enumerate(self.image.shape[2:]):
            gone = not any(a.axis == axis for p in parts for a in p.layout.places)
            if side > 1 and gone and self._in_turn(parts, axis):
                return dimension(len(parts), place=True, axis=axis)
        return self._tokens(parts)

    def _tokens(self, parts: Sequence[Operand]) -> Dimension:
        """The places of merged axes that the parts read in turn, all of them; empty if not."""
        found = self._in_turn(parts, None)
        if found is None:
            return ()
        tensor, dim, step = found
        atoms = self._nodes[tensor].layout.dims[dim]
        known = step > 0 or not any(atom.runs for atom in atoms)  # runs are not known backwards
        whole = size_of(atoms) == len(parts) and all(atom.place for atom in atoms)
        return atoms if known and whole else ()

    def _in_turn(self, parts: Sequence[Operand], axis: int | None) -> Slice | None:
        """The tensor, its dimension and the step by which the parts read places along an axis."""
        read = [self._slices(part.node, axis) for part in parts]
        if (found := _turns(read)) is not None:
            return found
        back = _turns(read[::-1])
        return None if back is None else (*back[:2], -back[2])

    def _slices(self, node: int, axis: int | None) -> frozenset[Slice]:
        """All slices of one place along an axis that a node was made from; None: merged axes."""
        known = self._sliced.setdefault(axis, [])
        for number in range(len(known), node + 1):
            found: set[Slice] = set()
            for edge in self._nodes[number].edges:
                one = _place_taken(edge, axis)
                found |= known[edge.source] if one is None else {(edge.source, *one)}
            known.append(frozenset(found))
        return known[node]

    def _guessed(self, shape: Sequence[int], part: Operand) -> Layout:
        """The layout of a tensor, guessed from that of a part."""
        if len(shape) == len(part.shape):
            dims = zip(shape, part.layout.dims, part.shape, strict=True)
            return Layout(
                tuple(
                    own
                    if size == have
                    else dimension(size, place=any(a.place for a in own), axis=axis_of(own))
                    for size, own, have in dims
                )
            )
        if len(shape) == len(self.image.shape):
            return Layout.image(shape, per_channel=self.per_channel)
        return Layout(tuple(dimension(size, place=True) for size in shape))

    def _by_the_table(self, call: Call) -> tuple[str, Outcome, str]:
        """Role, outcome, and a note if no rule could be applied."""
        line = entry(call.op)
        if line is None:
            return "unknown", everything(call, Status.GUESSED), ""
        try:
            found = line.rule(call)
            if found.layout.shape != call.shape:
                raise Unplaced(f"the rule gives {found.layout.shape} instead of {call.shape}")
        except Exception as error:
            note = f"{type(error).__name__}: {error}"
            known = isinstance(error, PlacewiseError)
            status = Status.AT_MOST if known else Status.GUESSED
            return "everything", everything(call, status), note
        return line.role, found, ""

    def _node(self, op: str, role: str, module: str, found: Outcome, note: str = "") -> Operand:
        name = op if op not in self._names else f"{op}_{self._names[op]}"
        self._names[op] += 1
        self._nodes.append(
            Node(
                name, op, role, module, found.layout, found.edges, found.status,
                found.global_statistics, note,
            )
        )  # fmt: skip
        return Operand(len(self._nodes) - 1, found.layout)


def _place_taken(edge: Edge, axis: int | None) -> tuple[int, int] | None:
    """The dimension and the one place along an axis that an edge reads; None if it reads several.

    Args:
        edge: of any node.
        axis: of the image; None for places that belong to no one axis.
    """
    steps = edge.operator.steps
    for step in steps[:1] if axis is None else steps:
        if isinstance(step, Along) and step.axis == axis and len(step.map.ins) == 1 < step.map.read:
            return step.dim, int(step.map.ins[0])
    return None


def _turns(read: Sequence[frozenset[Slice]]) -> Slice | None:
    """The tensor, the dimension and the step, if each reads one slice that none before it reads.

    All are of one tensor, at equal distances; else None.
    """
    known: set[Slice] = set()
    new: list[Slice] = []
    for one in read:
        fresh = one - known
        if len(fresh) != 1:
            return None
        known |= fresh
        new += fresh
    steps = {after[2] - before[2] for before, after in pairwise(new)}
    sources = {one[:2] for one in new}
    return (*sources.pop(), steps.pop()) if len(sources) == len(steps) == 1 else None


def _put_back(operator: Operator) -> list[Along] | None:
    """The steps from a part without gaps to the whole; None where the part is of another kind."""
    found = []
    for step in reversed(operator.steps):
        if not isinstance(step, Along) or not step.map.affine or step.map.affine.stride != 1:
            return None
        before, size = step.map.affine.start, step.map.written
        if step.map.affine.extent != 1 or step.map.name != "slice" or not size:
            return None
        relation = place(size, before, step.map.read - before - size, alone=True)
        found.append(Along(step.dim, relation, step.axis))
    return found


def _told(whole: Layout, written: Layout) -> Layout:
    """The layout of a tensor, with the axes of places that only what is written to it knows."""
    dims = []
    for own, theirs in zip(whole.dims, written.dims, strict=True):
        unknown = all(a.place and a.axis is None and not a.runs for a in own)
        dims.append(theirs if unknown and all(a.place for a in theirs) else own)
    return Layout(tuple(dims))


def _depth(layout: Layout) -> int:
    """Number of elements at one place."""
    return math.prod(layout.shape) // max(1, math.prod(layout.grid))


def _blurred(layout: Layout) -> Layout:
    """The same layout with channels that read different places."""
    return Layout(
        tuple(tuple(a if a.place else replace(a, blurred=True) for a in dim) for dim in layout.dims)
    )
