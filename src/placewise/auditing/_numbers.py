"""Plain numbers: ratios, means over blocks, ranks, and the form of a finding that JSON can hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.ops import Grid, Packed

LONGEST_AXIS = 64
"""Cells per axis of the largest map in JSON; larger maps are averaged over blocks."""

Starts = Sequence[NDArray[np.int64]]
"""Where the blocks of a map begin, for each of its axes."""


class Finding:
    """Base of the findings: frozen dataclasses with a plain form.

    Example:
        >>> @dataclasses.dataclass(frozen=True, eq=False)
        ... class Ramp(Finding):
        ...     map: FloatArray
        ...     slope: float
        >>> Ramp(np.arange(3.0), 1 / 3).to_dict()
        {'map': [0.0, 1.0, 2.0], 'map_averaged_over': [1], 'slope': 0.333333}
    """

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it.

        Maps become nested lists of 6 significant digits with at most 64 cells per axis; if a cell
        is a mean, `NAME_averaged_over` gives the pixels per axis. Infinite numbers and NaN become
        None.
        """
        entries: dict[str, Any] = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            entries[field.name] = block_lists(value) if _is_map(value) else plain(value)
            if _is_map(value):
                entries[f"{field.name}_averaged_over"] = list(map(_block, value.shape))
        return entries


def plain(value: Any) -> Any:
    """Numbers, text, None, and lists and dictionaries of them, as JSON can hold them."""
    if isinstance(value, Finding):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Fraction) and value.denominator == 1:
        return int(value)
    return rounded(float(value)) if isinstance(value, float | Fraction) else value


def _is_map(value: object) -> bool:
    return isinstance(value, np.ndarray)


# --- exact numbers -------------------------------------------------------------------------------


def ratio(first: Any, second: Any) -> float:
    """A quotient of exact numbers; infinite over zero, NaN for 0/0.

    Example:
        >>> ratio(10**400, 4 * 10**399), ratio(1, 0)
        (2.5, inf)
    """
    if second == 0:
        return math.nan if first == 0 else math.inf
    return float(Fraction(first) / Fraction(second))


def rounded(value: float) -> float | None:
    """Six significant digits; None for infinite numbers and NaN.

    Example:
        >>> rounded(2 / 3), rounded(math.inf)
        (0.666667, None)
    """
    return float(f"{value:.6g}") if math.isfinite(value) else None


def in_units(grid: Grid, unit: int) -> Grid:
    """Counts that were made in multiples of a unit, as integers and fractions.

    Args:
        grid: Python's integers.
        unit: what one is in them.

    Example:
        >>> in_units(np.array([6, 3], dtype=object), 2).tolist()
        [3, Fraction(3, 2)]
    """
    if unit == 1:
        return grid
    found = np.empty(grid.shape, dtype=object)
    found.flat[:] = [n // unit if n % unit == 0 else Fraction(n, unit) for n in grid.flat]
    return found


def relative(counts: Grid) -> FloatArray:
    """Exact counts as shares of the largest; zeros if the largest is 0."""
    most = counts.max()
    if not most:
        return np.zeros(counts.shape)
    return np.array([float(count / most) for count in counts.flat]).reshape(counts.shape)


def relative_of(counts: Packed) -> FloatArray:
    """`relative` of packed counts."""
    return counts.with_core(relative(counts.core)).whole()


# --- blocks --------------------------------------------------------------------------------------


def _block(side: int) -> int:
    """Pixels per block of an axis that is made at most 64 cells long."""
    return math.ceil(side / LONGEST_AXIS)


def _starts(shape: Sequence[int]) -> Starts:
    return [np.arange(0, side, _block(side)) for side in shape]


def cells(side: int, count: int) -> NDArray[np.int64]:
    """Where the cells begin if an axis is cut into at most `count`, equal but for one pixel.

    Example:
        >>> cells(7, 3)
        array([0, 2, 4])
    """
    count = min(count, side)
    return side * np.arange(count) // count


def block_sums(array: NDArray[Any], starts: Starts) -> FloatArray:
    """Sums over the blocks that begin at `starts` along each axis.

    Example:
        >>> block_sums(np.arange(4.0), [np.array([0, 3])])
        array([3., 3.])
    """
    sums = np.asarray(array, np.float64)
    for axis, first in enumerate(starts):
        sums = np.add.reduceat(sums, first, axis=axis)
    return sums


def block_means(array: NDArray[Any], starts: Starts) -> FloatArray:
    """Means over the blocks that begin at `starts` along each axis.

    Example:
        >>> block_means(np.arange(4.0), [np.array([0, 3])])
        array([1., 3.])
    """
    return block_sums(array, starts) / block_sums(np.ones(array.shape), starts)


def block_lists(grid: Grid) -> list[Any]:
    """Means over the blocks of a map, as nested lists of at most 64 cells per axis."""
    means = block_means(grid, _starts(grid.shape))
    found: list[Any] = np.vectorize(rounded, otypes=[object])(means).tolist()
    return found


def logarithms(counts: Packed, unit: int = 1) -> list[Any]:
    """log₁₀ of the mean of each block of counts, as nested lists; None if all are zero.

    Args:
        counts: exact numbers.
        unit: what one is in them.

    Example:
        >>> logarithms(Packed.of(np.array([10**400, 0, 2], dtype=object)))
        [400.0, None, 0.30103]
    """
    sums, sizes = counts.core, np.ones((), dtype=object)
    for axis, first in enumerate(_starts(counts.shape)):
        ends = [*first[1:], counts.shape[axis]]
        held = [counts.held(axis, range(a, b)) for a, b in zip(first, ends, strict=True)]
        sums = _blocks(sums, held, axis)
        sizes = np.multiply.outer(
            sizes, np.array([b - a for a, b in zip(first, ends, strict=True)])
        )
    means = [Fraction(s) / (int(n) * unit) for s, n in zip(sums.flat, sizes.flat, strict=True)]
    logs = np.array([_log10(mean) for mean in means], dtype=object)
    found: list[Any] = logs.reshape(sums.shape).tolist()
    return found


def _blocks(core: Grid, held: Sequence[NDArray[np.int64]], axis: int) -> Grid:
    """Sums of kinds along an axis, each so many times as a block holds it."""
    found = []
    for times in held:
        kinds = np.flatnonzero(times)
        shape = [1] * core.ndim
        shape[axis] = -1
        weights = times[kinds].astype(object).reshape(shape)
        found.append((np.take(core, kinds, axis=axis) * weights).sum(axis=axis))
    return np.stack(found, axis=axis)


def _log10(value: Fraction) -> float | None:
    if not value:
        return None
    return rounded(math.log10(value.numerator) - math.log10(value.denominator))


# --- ranks ---------------------------------------------------------------------------------------


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Spearman's rank correlation; equal values share their mean rank; NaN if all are equal.

    Example:
        >>> spearman(np.array([1, 2, 3]), np.array([1, 10, 100]))
        1.0
    """
    ranks = []
    for values in (first, second):
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        mean_ranks = np.cumsum(counts) - (counts - 1) / 2
        ranks.append(mean_ranks[place.ravel()] - (values.size + 1) / 2)
    length = np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1]))
    return float(ranks[0] @ ranks[1] / length) if length > 0 else math.nan
