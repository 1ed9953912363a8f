"""What measured findings share: a plain form, ranks, and figures by distance from the border."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from placewise.geometry import FloatArray

LONGEST_AXIS = 64
"""Cells per axis of the longest map that a finding's plain form holds."""


class Finding:
    """Base of the measured findings: frozen dataclasses with a plain form.

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

        Maps become nested lists of 6 significant digits with at most 64 cells per axis; where a
        cell is a mean over several, `NAME_averaged_over` says over how many per axis. What is not
        a finite number becomes None.
        """
        entries: dict[str, Any] = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                factors = [math.ceil(size / LONGEST_AXIS) for size in value.shape]
                starts = map(np.arange, [0] * value.ndim, value.shape, factors)
                entries[field.name] = _plain(block_means(value, tuple(starts)).tolist())
                entries[f"{field.name}_averaged_over"] = factors
            else:
                entries[field.name] = _plain(value)
        return entries


def block_sums(array: NDArray[Any], starts: Sequence[NDArray[np.int64]]) -> FloatArray:
    """Sums over the blocks that begin at `starts` along each axis.

    Example:
        >>> block_sums(np.arange(4.0), [np.array([0, 3])])
        array([3., 3.])
    """
    sums = np.asarray(array, np.float64)
    for axis, first in enumerate(starts):
        sums = np.add.reduceat(sums, first, axis=axis)
    return sums


def block_means(array: NDArray[Any], starts: Sequence[NDArray[np.int64]]) -> FloatArray:
    """Means over the blocks that begin at `starts` along each axis.

    Example:
        >>> block_means(np.arange(4.0), [np.array([0, 3])])
        array([1., 3.])
    """
    return block_sums(array, starts) / block_sums(np.ones(array.shape), starts)


def _plain(value: Any) -> Any:
    """Numbers, text, None, lists and dictionaries of them."""
    if dataclasses.is_dataclass(value) and isinstance(value, Finding):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | Fraction):
        return float(f"{float(value):.6g}") if math.isfinite(value) else None
    return value


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


# --- by distance from the border -----------------------------------------------------------------


def border_distances(size: Sequence[int]) -> NDArray[np.int64]:
    """Cells from each cell of a map to the nearest border; 0 is the outermost ring.

    Example:
        >>> border_distances((5,))
        array([0, 1, 2, 1, 0])
    """
    axes = [np.minimum(np.arange(n), np.arange(n)[::-1]) for n in size]
    nearest: NDArray[np.int64] = np.min(np.stack(np.meshgrid(*axes, indexing="ij")), axis=0)
    return nearest


class Differences:
    """Squared differences of two stacks of maps, gathered by distance from the border.

    Example:
        >>> found = Differences()
        >>> maps = torch.tensor([[[0.0, 1.0, 0.0]]])
        >>> found.add(maps, maps, border_distances((3,)))
        >>> found.relative().tolist()
        [0.0, 0.0]
    """

    def __init__(self) -> None:
        self._squares = np.zeros(0)
        self._counts = np.zeros(0)
        self._sum = torch.zeros(1, dtype=torch.float64)
        self._sum_of_squares = torch.zeros(1, dtype=torch.float64)
        self._values = 0
        self._low, self._high = math.inf, -math.inf

    def add(self, truth: Tensor, other: Tensor, distance: NDArray[np.int64]) -> None:
        """Add maps (N, C, *size); `distance` is (*size)."""
        truth, other = truth.double().cpu(), other.double().cpu()
        squares = (truth - other).square().mean(1).sum(0).numpy()
        length = max(len(self._squares), int(distance.max()) + 1)
        self._squares = np.pad(self._squares, (0, length - len(self._squares)))
        self._counts = np.pad(self._counts, (0, length - len(self._counts)))
        self._squares += np.bincount(distance.ravel(), squares.ravel(), length)
        self._counts += np.bincount(distance.ravel(), minlength=length) * len(truth)
        axes = (0, *range(2, truth.ndim))
        self._sum = self._sum + truth.sum(axes)
        self._sum_of_squares = self._sum_of_squares + truth.square().sum(axes)
        self._values += len(truth) * distance.size
        self._low = min(self._low, float(truth.min()))
        self._high = max(self._high, float(truth.max()))

    def relative(self) -> FloatArray:
        """√(mean squared difference / variance) per distance, 0 where nothing differs.

        The variance is that of the truth about each channel's mean, averaged over channels: √2
        means as different as two unrelated images.
        """
        return self._over_spread(self._squares / self._counts)

    def overall(self) -> float:
        """The same over all places."""
        return float(self._over_spread(self._squares.sum(keepdims=True) / self._counts.sum())[0])

    def psnr(self) -> FloatArray:
        """20 log10(highest − lowest value of the truth) − 10 log10(mean squared difference), in dB.

        Infinite where nothing differs.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            peak = 20 * np.log10(self._high - self._low)
            return np.asarray(peak - 10 * np.log10(self._squares / self._counts))

    def _over_spread(self, mean_squares: FloatArray) -> FloatArray:
        mean = self._sum / self._values
        variance = float((self._sum_of_squares / self._values - mean.square()).mean())
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.sqrt(mean_squares / max(variance, 0.0))
        return np.where(mean_squares == 0, 0.0, ratio)
