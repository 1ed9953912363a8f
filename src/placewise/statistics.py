"""Differences between arms that are paired by seed: intervals, error rates, probabilities.

```
paired_difference   mean difference of two arms over the same seeds, two intervals and a p-value
holm                p-values of several arms, adjusted for their number
chances             P(better), P(practically equal), P(worse)
two_way_interval    the same difference if the test items are a sample too
mcnemar             one seed: do two arms fail on different items?
detectable_effect   the difference that a number of seeds can find
```

Seeds alone say nothing about other test items, and items alone nothing about other seeds. The
two-way interval holds for both; quote it for a claim about a method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from placewise.errors import SettingsError

Values = NDArray[np.float64]

DRAWS, TWO_WAY_DRAWS = 10_000, 2_000
"""Resamples of a bootstrap over seeds, and of one over seeds and items."""

AT_ONCE = 4_000_000
"""Numbers that a bootstrap holds in memory at a time."""

FEWEST = 8
"""Fewest seeds that are resampled: intervals of fewer contain the truth in less than 93 % of
simulations, because there are too few different resamples."""


@dataclass(frozen=True)
class Interval:
    """Where a quantity lies with the stated confidence.

    Attributes:
        low: lower end.
        high: upper end.

    Example:
        >>> Interval(-0.5, 1.5).holds(0.0)
        True
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Difference:
    """The difference of two arms, paired by seed.

    Attributes:
        mean: first minus second.
        deviation: standard deviation of the differences of the seeds.
        seeds: how many pairs.
        student: t interval.
        bootstrap: bootstrap interval; None for fewer than 8 seeds.
        p: two-sided p-value of the paired t test.

    Example:
        >>> Difference(0.5, 1.0, 9, Interval(-0.3, 1.3), None, 0.17).mean
        0.5
    """

    mean: float
    deviation: float
    seeds: int
    student: Interval
    bootstrap: Interval | None
    p: float


@dataclass(frozen=True)
class Chances:
    """Probabilities given the data; the three add up to 1.

    Attributes:
        better: the difference is above the region of practical equivalence.
        equal: it is within it.
        worse: it is below it.

    Example:
        >>> Chances(0.7, 0.2, 0.1).better
        0.7
    """

    better: float
    equal: float
    worse: float


def paired_difference(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> Difference:
    """Mean difference of two arms over the same seeds.

    The t interval is mean ± t · s / √n. The bootstrap takes the percentiles of resampled means at
    the levels Φ(±√(n / (n − 1)) · t) instead of ±z, since plain percentiles are too narrow for few
    seeds (Hesterberg 2015, *What Teachers Should Know About the Bootstrap*, section 3.3).

    Args:
        first: (seeds,) measure of the first arm.
        second: (seeds,) measure of the second arm, in the same order of seeds.
        level: confidence of the intervals.
        seed: of the resamples.

    Raises:
        SettingsError: fewer than two pairs, unequal numbers, or a value that is not finite.

    Example:
        >>> found = paired_difference([0.91, 0.93, 0.92], [0.90, 0.91, 0.90])
        >>> round(found.mean, 4), round(found.student.low, 4), round(found.student.high, 4)
        (0.0167, 0.0023, 0.031)
    """
    first, second = (np.asarray(values, np.float64) for values in (first, second))
    if first.shape != second.shape or first.ndim != 1:
        raise SettingsError(
            f"pairs need one value for each seed on both sides; got shapes {first.shape} and "
            f"{second.shape}"
        )
    differences = _checked(first - second)
    n, mean, deviation = len(differences), differences.mean(), differences.std(ddof=1)
    reach = _quantile(n - 1, level) * deviation / np.sqrt(n)
    return Difference(
        float(mean),
        float(deviation),
        n,
        Interval(float(mean - reach), float(mean + reach)),
        _bootstrap(differences, level, seed) if n >= FEWEST else None,
        _p_value(float(mean), float(deviation), n),
    )


def _p_value(mean: float, deviation: float, n: int) -> float:
    """Two-sided p of a t test; p is 0 or 1 if all differences are equal."""
    if not deviation:
        return 1.0 if mean == 0 else 0.0
    return float(2 * _special().stdtr(n - 1, -abs(mean) / (deviation / np.sqrt(n))))


def _bootstrap(differences: Values, level: float, seed: int) -> Interval:
    n = len(differences)
    draws = np.random.default_rng(seed).integers(n, size=(DRAWS, n))
    means = differences[draws].mean(1)
    tail = _special().ndtr(-np.sqrt(n / (n - 1)) * _quantile(n - 1, level))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several comparisons, adjusted by Holm's step-down procedure.

    Sorted ascending, p_(i) becomes the largest of (m − j + 1) · p_(j) over j ≤ i, at most 1. All
    comparisons with an adjusted p below α make a false alarm with probability α at most in all
    (Holm 1979).

    Args:
        p_values: one for each comparison.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(factors * np.asarray(p_values, np.float64)[order])
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, stepped)
    return [float(p) for p in adjusted]


def chances(differences: ArrayLike, rope: float, *, correlation: float = 0.0) -> Chances:
    """Probabilities that the true difference is above, within and below a region around 0.

    Bayesian correlated t test: the posterior of the mean is Student's t with n − 1 degrees of
    freedom, location x̄ and scale² (1/n + ρ/(1 − ρ)) · s² (Benavoli, Corani, Demšar and Zaffalon
    2017, *Time for a Change*, section 4.1).

    Args:
        differences: (seeds,) of the measure; positive is better.
        rope: half the width of the region of practical equivalence, in units of the measure.
        correlation: ρ of two differences: 0 where the data are split once, the share of the test
            data where each seed draws its own split.

    Example:
        >>> found = chances([0.02, 0.03, 0.01, 0.02], rope=0.002)
        >>> round(found.better, 3), round(found.equal, 3), round(found.worse, 3)
        (0.989, 0.005, 0.006)
    """
    if rope < 0 or not 0 <= correlation < 1:
        raise SettingsError(
            f"the region must be at least 0 wide and the correlation in 0 … 1; got rope {rope} and "
            f"correlation {correlation}"
        )
    values = _checked(differences)
    n, mean = len(values), values.mean()
    scale = values.std(ddof=1) * np.sqrt(1 / n + correlation / (1 - correlation))
    if not scale:
        return Chances(float(mean > rope), float(abs(mean) <= rope), float(mean < -rope))
    below = float(_special().stdtr(n - 1, (-rope - mean) / scale))
    above = float(_special().stdtr(n - 1, (mean - rope) / scale))
    return Chances(above, max(0.0, 1 - above - below), below)


def two_way_interval(differences: ArrayLike, *, level: float = 0.95, seed: int = 0) -> Interval:
    """Interval of the mean difference where both seeds and test items are samples of many.

    Seeds and items are resampled independently (Owen 2007, *The pigeonhole bootstrap*). Since that
    alone counts the noise of single answers three times, each resampled mean is divided by its own
    standard error, se² = var(seeds' means) / S + var(items' means) / I − var(rest) / (S · I)
    (Cameron, Gelbach and Miller 2011), and the interval is mean − t* · se with the percentiles t*.

    Args:
        differences: (seeds, items) of the measure, first arm minus second.
        level: confidence of the interval.
        seed: of the resamples.

    Raises:
        SettingsError: fewer than eight seeds or items, or a value that is not finite.

    Example:
        >>> right = np.random.default_rng(0).random((2, 10, 200)) < np.array([[[0.9]], [[0.7]]])
        >>> found = two_way_interval(right[0] * 1.0 - right[1])
        >>> 0.1 < found.low < 0.2 < found.high < 0.3
        True
    """
    table = np.asarray(differences, np.float64)
    if table.ndim != 2 or min(table.shape) < FEWEST or not np.isfinite(table).all():
        raise SettingsError(
            f"a two-way interval needs finite values of at least {FEWEST} seeds and {FEWEST} test "
            f"items; got shape {table.shape}"
        )
    rng = np.random.default_rng(seed)
    mean, error = (
        float(part[0]) for part in _means(table, *(np.ones((1, n)) for n in table.shape))
    )
    if not error:
        return Interval(mean, mean)
    size = max(1, AT_ONCE // table.shape[1])
    ratios = []
    for start in range(0, TWO_WAY_DRAWS, size):
        count = min(size, TWO_WAY_DRAWS - start)
        weights = (rng.multinomial(n, np.full(n, 1 / n), count) for n in table.shape)
        means, errors = _means(table, *(w.astype(np.float64) for w in weights))
        ratios.append((means - mean) / np.maximum(errors, 1e-12 * error))
    low, high = np.quantile(np.concatenate(ratios), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean - float(high) * error, mean - float(low) * error)


def _means(table: Values, seeds: Values, items: Values) -> tuple[Values, Values]:
    """(mean, its two-way standard error) of resamples.

    Args:
        table: (S, I).
        seeds: (draws, S) how often each seed is in a resample; each row adds up to S.
        items: (draws, I) how often each item is.
    """
    s, i = table.shape
    of_seeds = items @ table.T / i
    of_items = seeds @ table / s
    mean = (seeds * of_seeds).sum(1) / s
    around_seeds = (seeds * (of_seeds - mean[:, None]) ** 2).sum(1)
    around_items = (items * (of_items - mean[:, None]) ** 2).sum(1)
    total = ((seeds @ table**2) * items).sum(1) - s * i * mean**2
    rest = np.maximum(0.0, total - i * around_seeds - s * around_items)
    by_seeds = around_seeds / (s - 1) / s
    by_items = around_items / (i - 1) / i
    both = by_seeds + by_items - rest / ((s - 1) * (i - 1)) / (s * i)
    return mean, np.sqrt(np.maximum(both, np.maximum(by_seeds, by_items)))


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """P-value that two arms fail on different items only by chance, for one seed.

    Exact: of the b + c items that one arm alone got right, each falls to either with probability ½
    (McNemar 1947).

    Args:
        first: (items,) whether the first arm was right.
        second: (items,) whether the second was.

    Example:
        >>> round(mcnemar([1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]), 5)
        0.03125
    """
    first, second = (np.asarray(right, bool) for right in (first, second))
    if first.shape != second.shape:
        raise SettingsError(f"both arms need the same items; got {first.shape} and {second.shape}")
    fewer, more = sorted((int((first & ~second).sum()), int((second & ~first).sum())))
    return min(1.0, float(2 * _special().bdtr(fewer, fewer + more, 0.5)))


def detectable_effect(seeds: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """Difference that a number of seeds finds, in sd of the paired differences.

    Args:
        seeds: how many pairs, at least 2.
        power: probability that a paired t test finds it, and on the right side.
        level: probability of a false alarm, two-sided.

    Example:
        >>> [round(detectable_effect(n), 2) for n in (5, 10, 20)]
        [1.68, 1.0, 0.66]
    """
    if seeds < 2 or not 0 < level < power < 1:
        raise SettingsError(
            f"a paired test needs at least 2 seeds and level < power; got {seeds} seeds, level "
            f"{level} and power {power}"
        )
    special, freedom = _special(), seeds - 1
    limit = _quantile(freedom, 1 - level)
    return _where(lambda effect: 1 - special.nctdtr(freedom, effect * np.sqrt(seeds), limit), power)


def _where(rising: Callable[[float], float], value: float) -> float:
    """Where a rising function on 0 … reaches a value, by bisection."""
    low, high = 0.0, 1.0
    while rising(high) < value:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return high


def _checked(differences: ArrayLike) -> Values:
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise SettingsError(
            f"a difference needs finite values of at least two seeds; got {values.tolist()}: "
            "run more seeds"
        )
    return values


def _quantile(freedom: int, level: float) -> float:
    """Half the width of a two-sided t interval, in standard errors."""
    return float(_special().stdtrit(freedom, (1 + level) / 2))


def _special() -> Any:
    """The distributions of scipy, which are loaded when they are asked for."""
    from scipy import special

    return special
