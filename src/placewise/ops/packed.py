"""Grids whose equal rows, columns and slices are kept once.

In a large image most rows are treated alike: far from the border, the paths repeat with the stride.
So a grid is kept as a core, in which each kind of row, column and slice occurs once, and for each
dimension the kind of each of its places. A relation between places of one axis then needs only one
place of each kind: two places that read the same kinds have the same number. Nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from placewise.ops.algebra import Algebra, Grid
from placewise.ops.axis_map import AxisMap, Gathering, Indices, joined
from placewise.ops.route import Along, Operator, Shape, Step

WIDEST = 2**22
"""Most numbers in a table of the kinds that each place reads; beyond, places stay apart."""

TAPS = 32
"""Places that one place may read for kinds to be told apart tap by tap, which is faster."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A grid as a core and the kinds of places along each dimension.

    Attributes:
        core: the numbers, for one place of each kind.
        index: for each dimension the kind of each place; None if each place is a kind of its own.

    Example:
        >>> from placewise.ops.algebra import COUNTS
        >>> grid = Packed.filled((4096, 4096), COUNTS, 1)
        >>> grid.core.shape, grid.shape, grid.total
        ((1, 1), (4096, 4096), 16777216)
    """

    core: Grid
    index: tuple[Indices | None, ...]

    @classmethod
    def of(cls, grid: Grid) -> Packed:
        """A grid whose places are all kept apart."""
        return cls(grid, (None,) * grid.ndim)

    @classmethod
    def filled(
        cls,
        shape: Sequence[int],
        algebra: Algebra,
        value: Any = None,
        at: Sequence[int | None] | None = None,
    ) -> Packed:
        """A grid of one number, or of zeros but for it.

        Args:
            shape: of the grid.
            algebra: of the numbers.
            value: the number; by default zero.
            at: where it is: a place along each dimension, or None for all; by default everywhere.
        """
        places = [None] * len(shape) if at is None else list(at)
        apart = [place is not None and side > 1 for place, side in zip(places, shape, strict=True)]
        core = algebra.filled(tuple(1 + one for one in apart))
        core[(-1,) * core.ndim] = algebra.zero if value is None else value
        index: list[Indices | None] = []
        for side, place, one in zip(shape, places, apart, strict=True):
            kinds = np.arange(side) == (place or 0) % side if one else np.zeros(side)
            index.append(kinds.astype(np.int64) if side > 1 else None)
        return cls(core, tuple(index))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the grid."""
        return tuple(
            size if index is None else len(index)
            for size, index in zip(self.core.shape, self.index, strict=True)
        )

    def whole(self) -> Grid:
        """The grid itself."""
        found = self.core
        for dim in range(found.ndim):
            found = self._apart(found, dim)
        return found

    def _apart(self, core: Grid, dim: int) -> Grid:
        """A core with a row for each place of a dimension."""
        index = self.index[dim]
        return core if index is None else np.take(core, index, axis=dim)

    # --- numbers ---------------------------------------------------------------------------------

    def at(self, place: Sequence[int]) -> Any:
        """The number of one place."""
        kinds = zip(place, self.index, strict=True)
        return self.core[tuple(p if index is None else index[p] for p, index in kinds)]

    @cached_property
    def weights(self) -> tuple[Indices, ...]:
        """For each dimension the number of places of each kind."""
        return tuple(self.held(dim, range(side)) for dim, side in enumerate(self.shape))

    def held(self, dim: int, places: Sequence[int]) -> Indices:
        """How many of these places along a dimension are of each kind."""
        index, wanted = self.index[dim], np.asarray(places, np.int64)
        kinds = wanted if index is None else index[wanted]
        return np.bincount(kinds, minlength=self.core.shape[dim])

    def weighed(self, weights: Sequence[Indices]) -> Any:
        """The sum of all numbers, each times the weights of its kinds."""
        found = self.core
        for own in reversed(weights):
            found = (found * own).sum(axis=-1)
        return found[()] if isinstance(found, np.ndarray) else found

    @property
    def total(self) -> Any:
        """The sum of all numbers."""
        return self.weighed(self.weights)

    def summed(self, dims: Sequence[int]) -> Packed:
        """Summed over some dimensions, which are left out."""
        core = self.core
        for dim in sorted(dims, reverse=True):
            weights = self.weights[dim].reshape([-1] + [1] * (core.ndim - dim - 1))
            core = np.asarray((core * weights).sum(axis=dim), dtype=self.core.dtype)
        return Packed(core, tuple(one for d, one in enumerate(self.index) if d not in dims))

    def permuted(self, order: Sequence[int]) -> Packed:
        """Dimensions in another order."""
        return Packed(self.core.transpose(order), tuple(self.index[dim] for dim in order))

    def with_core(self, core: Grid) -> Packed:
        """Other numbers for the same kinds of places."""
        return Packed(core, self.index)

    # --- along the network -----------------------------------------------------------------------

    def along(
        self, dim: int, relation: AxisMap, algebra: Algebra, *, back: bool, fill: object = None
    ) -> Packed:
        """What a relation along a dimension makes of the numbers: see `AxisMap.forward`."""
        gathering = relation.gathering(back=back)
        length = relation.read if back else relation.written
        padding = fill if relation.fills and not back else None
        own = self.index[dim]
        found = _grouped(gathering, own, length)
        if found is None:
            core, index = self._apart(self.core, dim), None
            core = joined(core, dim, algebra, gathering, length, padding)
        else:
            kinds, index, count = found
            core = joined(self.core, dim, algebra, kinds, count, padding)
        return Packed(core, (*self.index[:dim], index, *self.index[dim + 1 :]))

    def moved(self, split: Sequence[int], order: Sequence[int], after: Sequence[int]) -> Packed:
        """Seen as `split`, in another order, and then as `after`: see `Shape`."""
        turned = [split[i] for i in order]
        if _long(self.shape) != _long(split) or _long(turned) != _long(after):
            grid = self.whole().reshape(split).transpose(order).reshape(after)
            return Packed.of(grid)
        kept = [dim for dim, side in enumerate(self.shape) if side > 1]
        dims = iter(kept)
        from_split = [next(dims) if side > 1 else None for side in split]
        held = [dim for dim in (from_split[i] for i in order) if dim is not None]
        core = self.core.reshape([self.core.shape[dim] for dim in kept])
        core = core.transpose([kept.index(dim) for dim in held])
        places = iter(held)
        found = [next(places) if side > 1 else None for side in after]
        sizes = [1 if dim is None else self.core.shape[dim] for dim in found]
        index = tuple(None if dim is None else self.index[dim] for dim in found)
        return Packed(core.reshape(sizes), index)


def _long(sizes: Sequence[int]) -> list[int]:
    return [size for size in sizes if size > 1]


def _grouped(
    gathering: Gathering, own: Indices | None, length: int
) -> tuple[Gathering, Indices, int] | None:
    """Places by what they read: what one of each kind reads, the kind of each, how many kinds.

    Places that read nothing are a kind of their own, the last one. None if there are too many kinds
    for that to save anything.
    """
    sources, present, starts = gathering
    if not len(sources):
        return None
    read = sources if own is None else own[sources]
    ends = np.append(starts[1:], len(read))
    alike = _alike(read, starts, ends)
    _, first, inverse = np.unique(alike, return_index=True, return_inverse=True)
    missing = len(present) < length
    count = len(first) + missing
    if 2 * count > length and length > 1:
        return None
    index = np.full(length, len(first), np.int64)
    index[present] = inverse
    sizes = (ends - starts)[first]
    begins = np.cumsum(sizes) - sizes
    taken = np.repeat(starts[first] - begins, sizes) + np.arange(sizes.sum())
    return (read[taken], np.arange(len(first)), begins), index, count


def _alike(read: Indices, starts: Indices, ends: Indices) -> Indices:
    """A number for each run of kinds, the same for runs of the same kinds in any order."""
    sizes = ends - starts
    widest, runs = int(sizes.max()), len(starts)
    if runs == 1 or widest * runs > WIDEST:
        return np.arange(runs)
    if widest == 1:
        return read
    table = np.full((runs, widest), -1)
    row = np.repeat(np.arange(runs), sizes)
    table[row, np.arange(len(read)) - starts[row]] = read
    table.sort(axis=1)
    if widest > TAPS:
        return np.unique(table, axis=0, return_inverse=True)[1].ravel()
    kinds = table[:, 0] + 1
    top = int(read.max()) + 2
    for column in table.T[1:]:
        kinds = np.unique(kinds * top + column + 1, return_inverse=True)[1]
    return kinds


def carried(
    grid: Packed, operator: Operator, algebra: Algebra, *, back: bool, fill: object = None
) -> Packed:
    """What an operator makes of a packed grid, along the network or against it.

    Example:
        >>> from placewise.ops.algebra import COUNTS
        >>> from placewise.ops.axes import window
        >>> step = Operator((Along(0, window(1000, 3)),))
        >>> back = carried(Packed.filled((998,), COUNTS, 1), step, COUNTS, back=True)
        >>> back.core.tolist(), back.total
        ([1, 2, 3], 2994)
    """
    for step in reversed(operator.steps) if back else operator.steps:
        grid = _stepped(grid, step, algebra, back, fill)
    return grid


def _stepped(grid: Packed, step: Step, algebra: Algebra, back: bool, fill: object) -> Packed:
    if isinstance(step, Along):
        return grid.along(step.dim, step.map, algebra, back=back, fill=fill)
    if isinstance(step, Shape):
        turned = tuple(step.split[i] for i in step.order)
        if back:
            return grid.moved(turned, tuple(np.argsort(step.order)), step.before)
        return grid.moved(step.split, step.order, step.after)
    whole = grid.whole()
    return Packed.of(step.adjoint(whole, algebra) if back else step.forward(whole, algebra, fill))


def together(first: Packed | None, second: Packed | None, algebra: Algebra) -> Packed | None:
    """Two packed grids of one shape, joined place by place; None is nothing.

    Example:
        >>> from placewise.ops.algebra import COUNTS
        >>> ones = Packed.filled((9,), COUNTS, 1)
        >>> together(ones, Packed.filled((9,), COUNTS, 5, (2,)), COUNTS).whole().tolist()
        [1, 1, 6, 1, 1, 1, 1, 1, 1]
    """
    if first is None or second is None:
        return second if first is None else first
    (one, other), index = refined(first, second)
    return Packed(np.asarray(algebra.join(one, other), dtype=algebra.dtype), index)


def refined(first: Packed, second: Packed) -> tuple[tuple[Grid, Grid], tuple[Indices | None, ...]]:
    """The cores of two packed grids for the same kinds of places, and these kinds."""
    cores = [first.core, second.core]
    index: list[Indices | None] = []
    for dim, pair in enumerate(zip(first.index, second.index, strict=True)):
        kinds, chosen = _both(*pair)
        index.append(kinds)
        for n, own in enumerate(pair):
            if own is not None and chosen is not None:
                cores[n] = np.take(cores[n], own[chosen], axis=dim)
    return (cores[0], cores[1]), tuple(index)


def _both(
    one: Indices | None, other: Indices | None
) -> tuple[Indices | None, Indices | slice | None]:
    """Kinds of places that agree in both, and a place of each; None if nothing has to change."""
    if one is None and other is None:
        return None, None
    if one is None or other is None:
        return None, slice(None)
    if one is other or np.array_equal(one, other):
        return one, None
    pairs = one * (int(other.max()) + 1) + other
    _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    if 2 * len(first) > len(pairs):
        return None, slice(None)
    return inverse, first
