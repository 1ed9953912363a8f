"""A route from the places of one tensor to those of another, in both directions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from placewise.ops.algebra import Algebra, Grid, whole
from placewise.ops.axes import repeat, total
from placewise.ops.axis_map import AxisMap
from placewise.ops.layout import (
    Atom,
    Dimension,
    Layout,
    Unplaced,
    axis_of,
    dimension,
    merged,
    refined,
    size_of,
)

LARGEST = 4_000_000
"""Most places that a grid is given to follow a view that tears places and channels apart."""


class Step(ABC):
    """A linear change of a grid, with its transpose."""

    @property
    def unit(self) -> int:
        """Smallest number whose multiples stay whole."""
        return 1

    @abstractmethod
    def forward(self, grid: Grid, algebra: Algebra, fill: object = None) -> Grid:
        """Along the network; `fill` is the number of places that are padding."""

    @abstractmethod
    def adjoint(self, grid: Grid, algebra: Algebra) -> Grid:
        """Against the network."""


@dataclass(frozen=True)
class Along(Step):
    """A relation between places along one dimension.

    Attributes:
        dim: of the grid.
        map: the relation.
        axis: of the image that the dimension's places come from, if from one.
    """

    dim: int
    map: AxisMap
    axis: int | None = None

    def forward(self, grid: Grid, algebra: Algebra, fill: object = None) -> Grid:
        """What each written place joins."""
        return self.map.forward(grid, self.dim, algebra, fill)

    def adjoint(self, grid: Grid, algebra: Algebra) -> Grid:
        """What each read place joins."""
        return self.map.adjoint(grid, self.dim, algebra)


@dataclass(frozen=True)
class Shape(Step):
    """The same places, their axes split, put in another order and merged.

    Attributes:
        before: sizes of the grid's axes.
        split: sizes of its factors.
        order: which factor comes where.
        after: sizes of the new grid's axes.
    """

    before: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]
    after: tuple[int, ...]

    def forward(self, grid: Grid, algebra: Algebra, fill: object = None) -> Grid:
        """The same numbers, moved."""
        return grid.reshape(self.split).transpose(self.order).reshape(self.after)

    def adjoint(self, grid: Grid, algebra: Algebra) -> Grid:
        """Moved back."""
        moved = tuple(self.split[i] for i in self.order)
        return grid.reshape(moved).transpose(np.argsort(self.order)).reshape(self.before)


@dataclass(frozen=True)
class Scale(Step):
    """Each place times a fraction, e.g. the share of its window that is inside.

    Attributes:
        factors: for each place; of length 1 along dimensions whose places share them.
    """

    factors: Grid = field(repr=False)

    @cached_property
    def unit(self) -> int:
        """Smallest number whose multiples stay whole."""
        return math.lcm(*{factor.denominator for factor in self.factors.flat})

    @cached_property
    def _changing(self) -> Grid:
        return np.asarray(self.factors != 1, dtype=bool)

    def forward(self, grid: Grid, algebra: Algebra, fill: object = None) -> Grid:
        """Times the numbers, where numbers count."""
        if not algebra.counts:
            return grid
        changing = np.broadcast_to(self._changing, grid.shape)
        factors = np.broadcast_to(self.factors, grid.shape)
        result = grid.copy()
        result[changing] = whole(grid[changing] * factors[changing])
        return result

    def adjoint(self, grid: Grid, algebra: Algebra) -> Grid:
        """The same."""
        return self.forward(grid, algebra)


@dataclass(frozen=True)
class Operator:
    """Steps one after the other; none is the identity.

    Example:
        >>> from placewise.ops.algebra import COUNTS
        >>> from placewise.ops.axes import window
        >>> pair = Operator((Along(0, window(4, 2)),))
        >>> pair.adjoint(COUNTS.filled((3,), 1), COUNTS).tolist()
        [1, 2, 2, 1]
    """

    steps: tuple[Step, ...] = ()

    @property
    def unit(self) -> int:
        """A number whose multiples stay whole."""
        return math.prod(step.unit for step in self.steps)

    def forward(self, grid: Grid, algebra: Algebra, fill: object = None) -> Grid:
        """Numbers of the written places from those of the read ones."""
        for step in self.steps:
            grid = step.forward(grid, algebra, fill)
        return grid

    def adjoint(self, grid: Grid, algebra: Algebra) -> Grid:
        """Numbers of the read places from those of the written ones."""
        for step in reversed(self.steps):
            grid = step.adjoint(grid, algebra)
        return grid


def through(atoms: Dimension, relation: AxisMap) -> Dimension:
    """What a dimension of places is made of after a relation along it.

    Example:
        >>> from placewise.ops.axes import part, place
        >>> rows, columns = Atom(2, True, 0), Atom(3, True, 1)
        >>> tokens = through((rows, columns), place(6, 1, 0))  # after a class token
        >>> through(tokens, part(7, 1, 7)) == (rows, columns)
        True
    """
    axis = axis_of(atoms)
    found: list[tuple[int, Dimension]] = []
    if axis is None and not relation.dense:
        for first, run in (run for atom in merged(atoms) for run in atom.runs):
            at = relation.kept(first, math.prod(atom.size for atom in run))
            found += [] if at is None else [(at, run)]
    if len(found) == 1 and math.prod(atom.size for atom in found[0][1]) == relation.written:
        return found[0][1]
    whole = dimension(relation.written, place=True, axis=axis)
    return tuple(replace(atom, runs=tuple(found)) for atom in whole)


class Route:
    """Builds an operator while it keeps track of the layout.

    Args:
        layout: of the tensor that is read.
        per_channel: whether channels are counted apart.

    Attributes:
        layout: of the tensor that the steps up to here give.
        bound: whether some step may read more than the network does.

    Example:
        >>> route = Route(Layout.image((1, 3, 8, 8)))
        >>> route.reduce(1).spread(1, 16).view((1, 16, 64)).layout.grid
        (1, 1, 64)
    """

    def __init__(self, layout: Layout, *, per_channel: bool = False) -> None:
        self.layout, self.per_channel = layout, per_channel
        self.bound = False
        self._steps: list[Step] = []

    def operator(self) -> Operator:
        """All steps up to here."""
        return Operator(tuple(self._steps))

    def along(self, dim: int, relation: AxisMap, slices: Dimension = ()) -> Route:
        """A relation along one dimension, all of which become places.

        Channels that count as one stay so, whatever is done along them.

        Args:
            dim: of the tensor.
            relation: between its places.
            slices: what the written places are made of, where those that are read do not say it:
                slices that are put together again.
        """
        atoms = self.layout.dims[dim]
        if atoms and not any(atom.place for atom in atoms):
            blurred = not relation.covers or any(atom.blurred for atom in atoms)
            written = dimension(relation.written, blurred=blurred)
        else:
            self.places(dim)
            places = self.layout.dims[dim]
            axis = axis_of(slices or places)
            self._steps.append(Along(dim, relation, axis))
            written = slices or through(places, relation)
            if size_of(written) != relation.written:
                written = dimension(relation.written, place=True, axis=axis)
        self.layout = self.layout.with_dim(dim, written)
        return self

    def places(self, dim: int) -> Route:
        """Make one place atom of all that a dimension is made of.

        Channels among places (a pixel shuffle leaves them) become places that read the same.
        """
        atoms = self.layout.dims[dim]
        if len(atoms) == 1 and atoms[0].place:
            return self
        return self._tell_apart(dim, tuple((atom, True) for atom in atoms), merged(atoms))

    def reduce(self, dim: int) -> Route:
        """One place that reads all: mean, sum, max over a dimension, which stays with size 1."""
        atoms = self.layout.dims[dim]
        read = self.layout.grid[dim]
        if read > 1:
            self._steps.append(Along(dim, total(read), axis_of(atoms)))
        self.layout = self.layout.with_dim(dim, ())
        return self

    def spread(self, dim: int, size: int, *, place: bool | None = None) -> Route:
        """Copies of a dimension of size 1, by default as channels."""
        place = self.per_channel if place is None else place
        if place and size > 1:
            self._steps.append(Along(dim, repeat(size)))
        self.layout = self.layout.with_dim(dim, dimension(size, place=place))
        return self

    def dense(self, dim: int, size: int | None = None) -> Route:
        """Each place of a dimension reads all its places: softmax, attention, norms.

        Args:
            dim: of the tensor.
            size: how many places are written; by default as many as are read.
        """
        atoms = self.layout.dims[dim]
        written = tuple(replace(atom, blurred=False) for atom in atoms)
        if size not in (None, self.layout.shape[dim]):
            place = any(atom.place for atom in atoms)
            written = dimension(int(size or 1), place=place, axis=axis_of(atoms))
        self.reduce(dim)
        return self.like(self.layout.with_dim(dim, written))

    def permute(self, order: Sequence[int]) -> Route:
        """Dimensions in another order."""
        grid = self.layout.grid
        order = tuple(order)
        self.layout = self.layout.permuted(order)
        if order != tuple(range(len(order))):
            self._steps.append(Shape(grid, grid, order, self.layout.grid))
        return self

    def view(self, shape: Sequence[int]) -> Route:
        """Another shape with the same elements in the same order.

        Where that tears places and channels apart, the channels become places too.

        Raises:
            Unplaced: these would be too many.
        """
        try:
            return self._as(self.layout.viewed(shape))
        except Unplaced:
            self._unify(shape)
            return self._as(self.layout.viewed(shape))

    def broadcast(self, shape: Sequence[int]) -> Route:
        """Dimensions of size 1 in front, as many as the shape has more."""
        missing = len(shape) - len(self.layout.dims)
        return self._as(Layout(((),) * missing + self.layout.dims))

    def like(self, layout: Layout) -> Route:
        """Repeat what is read until it has all places of another layout."""
        for dim, target in enumerate(layout.dims):
            own = self.layout.dims[dim]
            if not any(atom.place for atom in own):
                blurred = any(atom.blurred for atom in own)
                parts = [(replace(a, place=False, blurred=blurred), a.place) for a in target]
            elif both := refined(own, target):
                parts = [(a, b.place) for a, b in zip(*both, strict=True)]
            else:
                parts = [(a, True) for a in own]
            self._tell_apart(dim, parts, target)
        return self

    def everywhere(self, layout: Layout) -> Route:
        """Each place of another layout reads all places."""
        for dim in range(len(self.layout.dims)):
            self.reduce(dim)
        return self._as(Layout(((),) * len(layout.dims))).like(layout)

    def _as(self, layout: Layout) -> Route:
        """The same places in the same order, on another grid."""
        self._reshape(self.layout.grid, layout.grid)
        self.layout = layout
        return self

    def _tell_apart(self, dim: int, parts: Sequence[tuple[Atom, bool]], target: Dimension) -> Route:
        """Make some parts of a dimension places, and merge all of its places into one axis."""
        grid = self.layout.grid
        new = [n for n, (atom, wanted) in enumerate(parts) if wanted and not atom.place]
        if new:
            self.bound |= any(parts[n][0].blurred for n in new)
            apart = tuple(atom.size if atom.place else 1 for atom, _ in parts)
            self._reshape(grid, (*grid[:dim], *apart, *grid[dim + 1 :]))
            for n in new:
                self._steps.append(Along(dim + n, repeat(parts[n][0].size), parts[n][0].axis))
            sizes = tuple(atom.size if wanted or atom.place else 1 for atom, wanted in parts)
            after = (*grid[:dim], math.prod(sizes), *grid[dim + 1 :])
            self._reshape((*grid[:dim], *sizes, *grid[dim + 1 :]), after)
        self.layout = self.layout.with_dim(dim, target)
        return self

    def _unify(self, shape: Sequence[int]) -> None:
        """Make places of all that a view tears apart."""
        segments = self.layout.torn(shape)
        self._as(self.layout.viewed([size for size, _ in segments]))
        sizes = zip(segments, self.layout.grid, strict=True)
        if math.prod(size if torn else places for (size, torn), places in sizes) <= LARGEST:
            for dim, (_, torn) in enumerate(segments):
                if torn:
                    self.places(dim)

    def _reshape(self, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        if before != after:
            self._steps.append(Shape(before, before, tuple(range(len(before))), after))
