"""A relation between the places of two axes, forwards and backwards over any algebra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from placewise.ops.algebra import Algebra, Grid

Indices = NDArray[np.int64]

Gathering = tuple[Indices, Indices, Indices]
"""Sources in the order of their targets, the targets, and where the sources of each begin."""


@dataclass(frozen=True)
class Affine:
    """Place j reads from `start + j · stride` on, `extent` places long.

    Coordinates may lie outside the axis that is read: those places are padding.
    """

    extent: int
    stride: int
    start: int


@dataclass(frozen=True, eq=False)
class AxisMap:
    """A relation between the places of an axis that is read and of one that is written.

    Attributes:
        name: what it is, e.g. "window".
        read: length of the axis that is read.
        written: length of the axis that is written.
        outs: written place of each pair, rising.
        ins: the place that it reads.
        affine: if all places are treated alike; else None.
        dense: every place reads all places.
        resized: the same map for another length that is read; None if there is none.
        unused: trailing places of the axis that no window reaches.
        fills: whether written places that read nothing are zero padding.
        sliding: the windows whose taps are written side by side, where they are.

    Example:
        >>> pairs = related("pair", 3, 2, np.array([1, 1, 0, 0]), np.array([2, 1, 1, 0]))
        >>> pairs.pairs(), pairs.affine
        ([(0, 0), (0, 1), (1, 1), (1, 2)], None)
    """

    name: str
    read: int
    written: int
    outs: Indices = field(repr=False)
    ins: Indices = field(repr=False)
    affine: Affine | None = None
    dense: bool = False
    resized: Callable[[int], AxisMap] | None = field(default=None, repr=False)
    unused: int = 0
    fills: bool = False
    sliding: Affine | None = None

    def pairs(self) -> list[tuple[int, int]]:
        """(written, read) of every pair."""
        return list(zip(self.outs.tolist(), self.ins.tolist(), strict=True))

    @property
    def covers(self) -> bool:
        """Whether every written place reads something."""
        return len(self._written[1]) == self.written

    def kept(self, first: int, size: int) -> int | None:
        """Where a run of places is written in its order and apart from all others; else None.

        Example:
            >>> from placewise.ops.axes import part, place
            >>> place(4, 1, 0).kept(0, 4), part(5, 1, 5).kept(1, 4), part(5, 2, 5).kept(1, 4)
            (1, 0, None)
        """
        inside = (self.ins >= first) & (self.ins < first + size)
        outs = self.outs[inside]
        if len(outs) != size or not np.array_equal(self.ins[inside], first + np.arange(size)):
            return None
        apart = np.count_nonzero((self.outs >= outs[0]) & (self.outs <= outs[-1])) == size
        return int(outs[0]) if apart and outs[-1] - outs[0] == size - 1 else None

    def forward(self, grid: Grid, axis: int, algebra: Algebra, fill: object = None) -> Grid:
        """What each written place joins of the places that it reads.

        Args:
            grid: any number of axes; `axis` has length `read`.
            axis: which one.
            algebra: of the numbers.
            fill: number of places that zero padding adds; by default the algebra's zero.
        """
        padding = fill if self.fills else None
        return joined(grid, axis, algebra, self._written, self.written, padding)

    def adjoint(self, grid: Grid, axis: int, algebra: Algebra) -> Grid:
        """What each read place joins of the places that read it: the transposed relation."""
        return joined(grid, axis, algebra, self._read, self.read, None)

    def gathering(self, *, back: bool) -> Gathering:
        """What each place joins: in the tensor that is read, or else in that which is written."""
        return self._read if back else self._written

    def transposed(self, name: str) -> AxisMap:
        """What is written reads, and what is read is written.

        Example:
            >>> related("sum", 2, 1, np.array([0, 0]), np.array([0, 1])).transposed("copy").pairs()
            [(0, 0), (1, 0)]
        """
        return related(name, self.written, self.read, self.ins, self.outs)

    @cached_property
    def _written(self) -> Gathering:
        return _gathering(self.ins, self.outs)

    @cached_property
    def _read(self) -> Gathering:
        order = np.argsort(self.ins, kind="stable")
        return _gathering(self.outs[order], self.ins[order])


def _gathering(sources: Indices, targets: Indices) -> Gathering:
    present, starts = np.unique(targets, return_index=True)
    return sources, present, starts


def joined(
    grid: Grid, axis: int, algebra: Algebra, gathering: Gathering, length: int, fill: object
) -> Grid:
    """Join what the sources hold into their targets, which rise.

    Args:
        grid: the numbers that are read.
        axis: along which.
        algebra: of the numbers.
        gathering: the sources of each target.
        length: of the axis that is written.
        fill: number of a target without sources; by default the algebra's zero.
    """
    sources, present, starts = gathering
    shape = (*grid.shape[:axis], length, *grid.shape[axis + 1 :])
    if not len(sources):
        return algebra.filled(shape, fill)
    taken = np.take(grid, sources, axis=axis)
    if len(present) < len(sources):
        taken = algebra.join.reduceat(taken, starts, axis=axis, dtype=algebra.dtype)
    if len(present) == length:
        return taken
    result = algebra.filled(shape, fill)
    result[(slice(None),) * axis + (present,)] = taken
    return result


def related(
    name: str,
    read: int,
    written: int,
    outs: Indices,
    ins: Indices,
    *,
    affine: Affine | None = None,
    resized: Callable[[int], AxisMap] | None = None,
    unused: int = 0,
    fills: bool = False,
) -> AxisMap:
    """A map of pairs that are sorted by what is written, then by what is read."""
    order = np.lexsort((ins, outs))
    outs, ins = outs[order].astype(np.int64), ins[order].astype(np.int64)
    return AxisMap(name, read, written, outs, ins, affine, False, resized, unused, fills)
