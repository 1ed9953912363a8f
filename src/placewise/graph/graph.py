"""A network as a graph of relations between places, which can be walked in both directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from placewise.errors import SettingsError
from placewise.graph.touches import Chains, touches
from placewise.ops import Algebra, Atom, Edge, Layout, Packed, Status, carried, together
from placewise.wording import did_you_mean

Target = int | str | None
"""A node by its number, its name or its submodule; "output"; None for the last feature map."""

OUTPUT = "output"


@dataclass(frozen=True)
class Node:
    """One tensor that depends on the image.

    Attributes:
        name: unique name in the graph.
        op: ATen operation that makes it; "image" for the image, "write" for a tensor that was
            partly overwritten.
        role: what the operation does to places.
        module: dotted path of the submodule that runs it.
        layout: which dimensions hold which places.
        edges: the nodes that it reads, and how.
        status: whether it reads exactly what the edges say.
        global_statistics: whether it also reads the mean and variance over all places.
        note: reason for the status, if no rule could be applied.
    """

    name: str
    op: str
    role: str
    module: str
    layout: Layout
    edges: tuple[Edge, ...]
    status: Status
    global_statistics: bool = False
    note: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they run; node 0 is the image.

    Attributes:
        nodes: see `Node`.
        outputs: numbers of the nodes that the network returns.
        capture: how the graph was found: "export", "recorded" (on shapes alone), or "run": one run
            on numbers, by which the network may have chosen what to do.
        unknown: how often each operation occurs that the table of rules does not contain.
        why: why a better way of capture failed; empty if none did.
        per_channel: whether channels are counted apart, not only places.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        >>> graph = capture(net, (1, 8, 8))
        >>> graph.sides, graph.nodes[graph.last_map].op
        ((8, 8), 'relu')
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    capture: str
    unknown: Mapping[str, int]
    why: str = ""
    per_channel: bool = False

    # --- nodes -----------------------------------------------------------------------------------

    @property
    def sides(self) -> tuple[int, ...]:
        """Length of each axis of the image, in pixels."""
        return self.nodes[0].layout.shape[2:]

    @cached_property
    def caveats(self) -> tuple[Status, ...]:
        """What keeps the counts of the outputs from being exact, the worst last."""
        found = {self.nodes[number].status for number in self.ancestors(self.outputs)}
        if self.capture == "run":
            found.add(Status.ONE_RUN)
        return tuple(status for status in Status if status in found and status != Status.EXACT)

    @property
    def status(self) -> Status:
        """How far the counts can be trusted: the worst of the caveats."""
        return Status.worst(self.caveats)

    @cached_property
    def touches(self) -> list[list[tuple[int, Chains]]]:
        """For each node: the nodes that it reads, and what that does to each axis of the image."""
        return [
            [(e.source, touches(self.nodes[e.source].layout, e, len(self.sides))) for e in n.edges]
            for n in self.nodes
        ]

    def label(self, target: Target) -> str:
        """Name for a report: the submodule of a node, or the node's own name if it has none."""
        if target == OUTPUT:
            return OUTPUT
        node = self.nodes[self.find(target)[0]]
        return node.module or node.name

    def find(self, target: Target) -> tuple[int, ...]:
        """Numbers of the nodes that a target names; only "output" can name several.

        Raises:
            SettingsError: there is no such node.
        """
        if target is None:
            return (self.last_map,)
        if target == OUTPUT:
            return self._checked_outputs()
        if isinstance(target, int):
            if not 0 <= target < len(self.nodes):
                raise SettingsError(
                    f"there is no node {target}; the graph has nodes 0 to {len(self.nodes) - 1}"
                )
            return (target,)
        known = {node.module: n for n, node in enumerate(self.nodes) if node.module}
        known |= {node.name: n for n, node in enumerate(self.nodes)}
        if target not in known:
            raise SettingsError(
                f"the graph has no node or submodule '{target}'; see graph.nodes."
                f"{did_you_mean(target, known)}"
            )
        return (known[target],)

    def ancestors(self, targets: Iterable[int]) -> set[int]:
        """The targets and all nodes that some target reads, directly or not."""
        found = set(targets)
        for number in range(len(self.nodes) - 1, -1, -1):
            if number in found:
                found.update(edge.source for edge in self.nodes[number].edges)
        return found

    def _checked_outputs(self) -> tuple[int, ...]:
        if not self.outputs:
            raise SettingsError(
                "no output of the network depends on the image; give a network that returns "
                "tensors made from its input"
            )
        return self.outputs

    # --- maps ------------------------------------------------------------------------------------

    def map_dims(self, number: int) -> tuple[int | None, ...] | None:
        """The dimension that holds each axis of the image, if the node is a map.

        Returns:
            A dimension for each axis, None for an axis of length 1 that padding has not made
            longer; None instead of the tuple if the node is no map, i.e. if some axis has no
            dimension of its own.
        """
        layout = self.nodes[number].layout
        axes = [[atom.axis for atom in dim if atom.place] for dim in layout.dims]
        usual = len(axes) == len(self.sides) + 2
        found: list[int | None] = []
        for axis, side in enumerate(self.sides):
            dims = [d for d, here in enumerate(axes) if axis in here]
            if side > 1 and (len(dims) != 1 or not _along(layout.dims[dims[0]], axis)):
                return None
            longer = usual and side == 1 and axes[2 + axis] == [None]
            found.append(2 + axis if longer else dims[0] if side > 1 else None)
        return tuple(found)

    @cached_property
    def maps(self) -> frozenset[int]:
        """Numbers of the nodes that are maps."""
        return frozenset(n for n in range(len(self.nodes)) if self.map_dims(n) is not None)

    @cached_property
    def last_map(self) -> int:
        """The last feature map: the last node with a dimension for each axis of the image.

        If an output is a map, it is that output, the first of several. Otherwise it is the last
        map that the first output reads: the one before global pooling, flattening or tokens.
        """
        for number in self._checked_outputs():
            if number in self.maps:
                return number
        return max(self.ancestors(self.outputs[:1]) & self.maps, default=0)

    def over_image(self, grid: Packed, number: int) -> Packed:
        """A node's grid with the image's axes in order, summed over all other dimensions.

        The grid of a node that is no map is returned unchanged.
        """
        dims = self.map_dims(number)
        if dims is None:
            return grid
        kept = [dim for dim in dims if dim is not None]
        summed = grid.summed([dim for dim in range(len(grid.shape)) if dim not in kept])
        moved = summed.permuted([sorted(kept).index(dim) for dim in kept])
        lengths = iter(moved.shape)
        sides = [1 if dim is None else next(lengths) for dim in dims]
        return moved.moved(moved.shape, range(len(kept)), sides)

    def middle(self, number: int) -> tuple[int, ...]:
        """The middle place of a node: an index for each axis if it is a map, else for each dim."""
        grid, dims = self.nodes[number].layout.grid, self.map_dims(number)
        if dims is None:
            return tuple(side // 2 for side in grid)
        return tuple(0 if dim is None else grid[dim] // 2 for dim in dims)

    def ones(
        self, number: int, algebra: Algebra, place: Sequence[int] | None = None, value: Any = 1
    ) -> Packed:
        """Ones from which a backward pass starts: at all places of a node, or at one place.

        Args:
            number: of the node.
            algebra: of the ones.
            place: an index for each axis of the image (all channels) if the node is a map; or an
                index for each dimension of its grid.
            value: instead of one.

        Raises:
            SettingsError: there is no such place.
        """
        grid = self.nodes[number].layout.grid
        if place is None:
            return Packed.filled(grid, algebra, value)
        dims = self.map_dims(number)
        index: list[int | None] = list(place)
        if dims is not None and len(place) == len(dims):
            index = [None] * len(grid)
            for dim, wanted in zip(dims, place, strict=True):
                if dim is not None:
                    index[dim] = wanted
        inside = len(index) == len(grid) and all(
            at is None or -side <= at < side for at, side in zip(index, grid, strict=True)
        )
        if not inside:
            axes = "" if dims is None else f", in which the image's axes are dimensions {dims}"
            raise SettingsError(
                f"'{self.label(number)}' has no place {tuple(place)}; its grid is {grid}{axes}; "
                "choose a place inside it"
            )
        return Packed.filled(grid, algebra, value, index)

    # --- passes ----------------------------------------------------------------------------------

    @cached_property
    def unit(self) -> int:
        """A number whose multiples stay integers all the way through the graph, in both directions.

        It is 1 unless places are multiplied by fractions (partial convolutions). Counts that start
        from it stay integers, which are many times faster than fractions.
        """
        units = [1]
        for node in self.nodes[1:]:
            units.append(math.lcm(*(units[e.source] * e.operator.unit for e in node.edges)))
        return math.lcm(*units)

    def backward(
        self, seeds: Mapping[int, Packed], algebra: Algebra
    ) -> Iterator[tuple[int, Packed | None]]:
        """Carry numbers from some nodes back to all that they read.

        Only what is still to be read is held, so that memory does not grow with depth.

        Args:
            seeds: numbers to start with, by node; see `ones`.
            algebra: of the numbers.

        Yields:
            Each node, the last first, with its numbers; None for a node that none reach.

        Example:
            >>> from torch import nn
            >>> from placewise.graph import capture
            >>> from placewise.ops import COUNTS
            >>> graph = capture(nn.Conv1d(1, 1, 3), (1, 5))
            >>> [(n, grid.whole().ravel().tolist())
            ...  for n, grid in graph.backward({1: graph.ones(1, COUNTS)}, COUNTS)]
            [(1, [1, 1, 1]), (0, [1, 2, 3, 2, 1])]
        """
        held: dict[int, Packed | None] = dict(seeds)
        for number in range(len(self.nodes) - 1, -1, -1):
            grid = held.pop(number, None)
            yield number, grid
            if grid is None:
                continue
            for edge in self.nodes[number].edges:
                back = carried(grid, edge.operator, algebra, back=True)
                held[edge.source] = together(held.get(edge.source), back, algebra)

    def to_image(self, seeds: Mapping[int, Packed], algebra: Algebra) -> Packed:
        """What `backward` gives for the image: zeros if nothing reaches it."""
        found = next((grid for n, grid in self.backward(seeds, algebra) if n == 0), None)
        return Packed.filled(self.nodes[0].layout.grid, algebra) if found is None else found

    def forward(
        self,
        start: Packed,
        algebra: Algebra,
        fill: object = None,
        *,
        to: int | None = None,
        statistics: bool = False,
    ) -> dict[int, Packed]:
        """Carry numbers from the image forward to all nodes, or to one.

        Args:
            start: numbers of the image's places.
            algebra: of the numbers.
            fill: number of each place that zero padding adds; by default the algebra's zero.
            to: the only node whose numbers are wanted; others are dropped as soon as they were
                read.
            statistics: whether each place of a normalisation joins all places, from which its
                mean and variance come.

        Returns:
            The numbers by node: of all nodes, or of those that were not dropped.
        """
        needed = range(len(self.nodes)) if to is None else sorted(self.ancestors([to]) | {0})
        last = {edge.source: n for n in needed for edge in self.nodes[n].edges}
        held = {0: start}
        for n in needed[1:]:
            grid: Packed | None = None
            for edge in self.nodes[n].edges:
                read = held[edge.source]
                found = carried(read, edge.operator, algebra, back=False, fill=fill)
                grid = together(grid, found, algebra)
            if statistics and grid is not None and self.nodes[n].global_statistics:
                grid = Packed.filled(grid.shape, algebra, algebra.join.reduce(grid.core, axis=None))
            if grid is None:
                grid = Packed.filled(self.nodes[n].layout.grid, algebra)
            held[n] = grid
            for source in {edge.source for edge in self.nodes[n].edges}:
                if to is not None and last[source] == n and source != to:
                    del held[source]
        return held


def _along(atoms: Sequence[Atom], axis: int) -> bool:
    """Whether a dimension runs along an axis: its outermost factor does, and no other axis does.

    Channels within each place are finer places, as a pixel shuffle makes them; channels around all
    places repeat the axis, and there is no map.

    Example:
        >>> rows, channels = Atom(8, True, 0), Atom(3, False)
        >>> _along((rows, channels), 0), _along((channels, rows), 0)
        (True, False)
    """
    axes = {atom.axis for atom in atoms if atom.place}
    return atoms[0].place and atoms[0].axis == axis and axes <= {axis, None}
