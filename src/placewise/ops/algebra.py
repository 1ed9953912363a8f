"""What the numbers on a grid are, and how two that meet at one place become one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[Any]
"""One number for each place of a tensor: an axis for each of its dimensions, of length 1 if
it has no places."""


@dataclass(frozen=True)
class Algebra:
    """A commutative operation that joins numbers, with its neutral element.

    Attributes:
        name: what it is called.
        join: associative and commutative.
        zero: joins with anything to that thing.
        dtype: of the grids.
        counts: whether joining a number with itself changes it, so that multiplicities matter.

    Example:
        >>> EXISTS.filled((2,)).tolist(), COUNTS.filled((2,)).tolist()
        ([False, False], [0, 0])
    """

    name: str
    join: np.ufunc
    zero: Any
    dtype: Any
    counts: bool

    def filled(self, shape: tuple[int, ...], value: Any = None) -> Grid:
        """A grid of one number, by default zero."""
        return np.full(shape, self.zero if value is None else value, dtype=self.dtype)


COUNTS = Algebra("counts", np.add, 0, object, True)
"""Python's integers (and fractions): exact whatever their size."""

FLOATS = Algebra("floats", np.add, 0.0, np.float64, True)
"""Sums in double precision."""

EXISTS = Algebra("exists", np.logical_or, False, bool, False)
"""Whether there is a path at all."""

LOWEST = Algebra("lowest", np.minimum, np.iinfo(np.int64).max, np.int64, False)
"""Lower ends of intervals."""

HIGHEST = Algebra("highest", np.maximum, np.iinfo(np.int64).min, np.int64, False)
"""Upper ends of intervals."""

ALGEBRAS = {a.name: a for a in (COUNTS, FLOATS, EXISTS, LOWEST, HIGHEST)}


def whole(grid: Grid) -> Grid:
    """The same numbers, those fractions as integers that are whole: these are quick to add.

    Example:
        >>> whole(np.array([Fraction(6, 2), Fraction(1, 2)], dtype=object)).tolist()
        [3, Fraction(1, 2)]
    """
    found = np.empty(grid.shape, dtype=object)
    found.flat[:] = [n.numerator if _is_whole(n) else n for n in grid.flat]
    return found


def _is_whole(number: Any) -> bool:
    return isinstance(number, Fraction) and number.denominator == 1
