"""Statistics against scipy, baycomp, plain integration, and simulations whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import integrate
from scipy import stats as oracle

import placewise.statistics as statistics
from placewise.errors import SettingsError
from placewise.statistics import (
    Interval,
    chances,
    detectable_effect,
    holm,
    mcnemar,
    paired_difference,
    two_way_interval,
)

VALUES = arrays.arrays(np.float64, st.integers(2, 30), elements=st.floats(-100, 100))


def differences(seed: int, n: int, mean: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


# --- paired difference ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 10, 40])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_the_t_test_is_that_of_scipy(n: int, level: float):
    first, second = differences(n, n), differences(n + 100, n, 0.0)
    found = paired_difference(first, second, level=level)
    expected = oracle.ttest_rel(first, second)
    interval = expected.confidence_interval(level)
    np.testing.assert_allclose(
        [found.mean, found.student.low, found.student.high, found.p],
        [(first - second).mean(), interval.low, interval.high, expected.pvalue],
        rtol=1e-10,
        atol=1e-12,
    )
    assert found.seeds == n
    assert (found.bootstrap is None) == (n < 8)


def test_the_bootstrap_is_that_of_scipy_at_the_levels_that_few_seeds_need():
    values, n = differences(3, 8), 8
    found = paired_difference(values, np.zeros(n)).bootstrap
    reach = np.sqrt(n / (n - 1)) * oracle.t.ppf(0.975, n - 1)
    level = 1 - 2 * oracle.norm.cdf(-reach)
    expected = oracle.bootstrap(
        (values,), np.mean, n_resamples=100_000, confidence_level=level, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.03)


@settings(max_examples=30)
@given(values=VALUES, shift=st.floats(-10, 10), factor=st.floats(0.1, 10))
def test_a_difference_moves_and_grows_with_its_values(
    values: np.ndarray, shift: float, factor: float
):
    one = paired_difference(values, np.zeros(len(values)))
    other = paired_difference(factor * values + shift, np.zeros(len(values)))
    for name in ("student", "bootstrap"):
        ends, moved = getattr(one, name), getattr(other, name)
        if ends is not None:
            expected = factor * np.array([ends.low, ends.high]) + shift
            np.testing.assert_allclose([moved.low, moved.high], expected, rtol=1e-6, atol=1e-6)


def test_swapping_the_arms_swaps_the_sign():
    first, second = differences(1, 9), differences(2, 9)
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert other.mean == pytest.approx(-one.mean)
    assert other.student.low == pytest.approx(-one.student.high)
    assert other.p == pytest.approx(one.p)


def test_differences_without_spread():
    same, more = (paired_difference([first] * 8, [0.5] * 8) for first in (0.5, 0.75))
    assert (same.p, more.p) == (1.0, 0.0)
    assert more.student == more.bootstrap == Interval(0.25, 0.25)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ([1.0], [1.0], "two seeds"),
        ([1.0, 2.0], [1.0], "shapes"),
        ([1.0, np.nan], [1.0, 1.0], "finite"),
        ([[1.0, 2.0]], [[1.0, 2.0]], "shapes"),
    ],
)
def test_pairs_that_cannot_be(first: list, second: list, says: str):
    with pytest.raises(SettingsError, match=says):
        paired_difference(first, second)


# --- Holm ----------------------------------------------------------------------------------------

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(p=P_VALUES)
def test_holm_rejects_what_the_closed_procedure_rejects(p: list[float]):
    """Slow twin: a hypothesis falls if Bonferroni rejects every intersection that it is part of."""
    adjusted = holm(p)
    indices = range(len(p))
    for i in indices:
        sets = [
            chosen
            for size in range(1, len(p) + 1)
            for chosen in itertools.combinations(indices, size)
            if i in chosen
        ]
        needed = max(min(1.0, len(chosen) * min(p[j] for j in chosen)) for chosen in sets)
        assert adjusted[i] == pytest.approx(needed)


# --- chances -------------------------------------------------------------------------------------


def plainly(values: np.ndarray, rope: float, correlation: float) -> list[float]:
    """Slow twin: mean and scale integrated out on a grid.

    Normal likelihood with equal correlations, prior 1 / σ².
    """
    n = len(values)
    covariance = np.full((n, n), correlation) + (1 - correlation) * np.eye(n)
    inverse = np.linalg.inv(covariance)
    spread = values.std(ddof=1) * np.sqrt(1 / n + correlation / (1 - correlation))
    means = values.mean() + spread * np.sinh(np.linspace(-7, 7, 2001))
    logs = np.linspace(np.log(values.std()) - 4, np.log(values.std()) + 9, 700)
    rest = values[:, None] - means
    squares = np.einsum("im,ij,jm->m", rest, inverse, rest)
    density = np.exp(-n * logs[:, None] - squares / (2 * np.exp(2 * logs[:, None])))
    posterior = integrate.simpson(density, x=logs, axis=0)
    total = integrate.cumulative_simpson(posterior, x=means, initial=0)
    below, above = np.interp([-rope, rope], means, total / total[-1])
    return [1 - above, above - below, below]


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("n", "mean"), [(4, 0.0), (5, 0.4), (10, 0.4), (20, -0.2)])
def test_chances_are_those_of_plain_integration(n: int, mean: float, correlation: float):
    values = differences(n, n, mean)
    found = chances(values, 0.2, correlation=correlation)
    expected = plainly(values, 0.2, correlation)
    np.testing.assert_allclose([found.better, found.equal, found.worse], expected, atol=2e-4)


@pytest.mark.parametrize("runs", [1, 5])
def test_chances_are_those_of_baycomp(runs: int):
    baycomp = pytest.importorskip("baycomp", reason="the oracle baycomp is not installed")
    values = differences(runs, 10 * runs, 0.1)
    found = chances(values, 0.05, correlation=1 / 10)
    oracle_of = baycomp.CorrelatedTTest(np.zeros(len(values)), values, rope=0.05, runs=runs)
    worse, equal, better = oracle_of.probs()
    np.testing.assert_allclose(
        [found.better, found.equal, found.worse], [better, equal, worse], atol=1e-12
    )


@given(values=VALUES, rope=st.floats(0, 10), correlation=st.floats(0, 0.9))
def test_chances_add_up_and_mirror(values: np.ndarray, rope: float, correlation: float):
    found = chances(values, rope, correlation=correlation)
    turned = chances(-values, rope, correlation=correlation)
    assert found.better + found.equal + found.worse == pytest.approx(1)
    assert min(found.better, found.equal, found.worse) >= 0
    assert turned.better == pytest.approx(found.worse, abs=1e-9)


def test_without_a_region_and_a_correlation_chances_are_the_one_sided_t_test():
    values = differences(4, 15)
    p = oracle.ttest_1samp(values, 0, alternative="greater").pvalue
    assert chances(values, 0.0).worse == pytest.approx(p)


def test_chances_without_spread():
    assert chances([0.5, 0.5], 0.2).better == 1
    assert chances([0.1, 0.1], 0.2).equal == 1


@pytest.mark.parametrize(("rope", "correlation"), [(-0.1, 0), (0.1, 1.0), (0.1, -0.2)])
def test_regions_that_cannot_be(rope: float, correlation: float):
    with pytest.raises(SettingsError, match="region"):
        chances([0.1, 0.2], rope, correlation=correlation)


# --- seeds × items -------------------------------------------------------------------------------


def plain_error(table: np.ndarray) -> float:
    """Slow twin of the two-way standard error: loops over seeds and items."""
    s, i = table.shape
    mean = table.mean()
    of_seeds, of_items = table.mean(1), table.mean(0)
    rest = sum(
        (table[a, b] - of_seeds[a] - of_items[b] + mean) ** 2 for a in range(s) for b in range(i)
    )
    first = sum((m - mean) ** 2 for m in of_seeds) / (s - 1) / s
    second = sum((m - mean) ** 2 for m in of_items) / (i - 1) / i
    return float(np.sqrt(max(first + second - rest / ((s - 1) * (i - 1)) / (s * i), first, second)))


def a_table(seed: int, s: int, i: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (s, 1)) + rng.normal(0, 2, (1, i)) + rng.normal(0, 3, (s, i))


@pytest.mark.parametrize(("s", "i"), [(8, 9), (9, 30)])
def test_weights_stand_for_resampled_rows_and_columns(s: int, i: int):
    """Slow twin: the table with its rows and columns really repeated."""
    table, rng = a_table(s, s, i), np.random.default_rng(1)
    for _ in range(5):
        rows, columns = rng.integers(s, size=s), rng.integers(i, size=i)
        repeated = table[rows][:, columns]
        weights = (np.bincount(rows, minlength=s), np.bincount(columns, minlength=i))
        mean, error = statistics._means(table, *(w[None].astype(float) for w in weights))
        assert mean[0] == pytest.approx(repeated.mean())
        assert error[0] == pytest.approx(plain_error(repeated))


def test_the_memory_of_the_bootstrap_does_not_change_its_answer(monkeypatch):
    table = a_table(2, 8, 50)
    whole = two_way_interval(table)
    assert whole.low < table.mean() < whole.high
    monkeypatch.setattr(statistics, "AT_ONCE", 1)
    rng_order_differs = two_way_interval(table)
    np.testing.assert_allclose(
        [rng_order_differs.low, rng_order_differs.high], [whole.low, whole.high], rtol=0.1
    )


def test_a_long_tail_makes_the_interval_long_on_its_side():
    """Resampled means of a right-skewed table have too small an error where they are too low."""
    rng = np.random.default_rng(0)
    table = rng.exponential(1, (12, 1)) ** 2 + rng.normal(0, 0.1, (12, 30))
    found, turned = two_way_interval(table), two_way_interval(-table)
    assert found.high - table.mean() > 1.5 * (table.mean() - found.low)
    np.testing.assert_allclose([turned.low, turned.high], [-found.high, -found.low])


def test_a_table_without_spread_and_one_too_small():
    assert two_way_interval(np.full((8, 9), 0.5)) == Interval(0.5, 0.5)
    with pytest.raises(SettingsError, match=r"shape \(7, 100\)"):
        two_way_interval(np.zeros((7, 100)))
    with pytest.raises(SettingsError, match="finite"):
        two_way_interval(np.full((8, 9), np.nan))


# --- McNemar, effects ----------------------------------------------------------------------------


@given(arrays.arrays(bool, st.tuples(st.just(2), st.integers(1, 40))))
def test_mcnemar_is_the_sign_test_of_what_differs(right: np.ndarray):
    first, second = right
    alone, differs = int((first & ~second).sum()), int((first != second).sum())
    expected = oracle.binomtest(alone, differs).pvalue if differs else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_needs_the_same_items():
    with pytest.raises(SettingsError, match="same items"):
        mcnemar([1, 0], [1])


@pytest.mark.parametrize(
    ("n", "effect"), [(5, 1.68), (10, 1.00), (15, 0.78), (20, 0.66), (30, 0.53)]
)
def test_detectable_effects_are_the_published_ones(n: int, effect: float):
    assert detectable_effect(n) == pytest.approx(effect, abs=0.005)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_power_at_the_detectable_effect_is_that_of_plain_integration(n: int):
    """Slow twin: the normal mean integrated over the spread's chi distribution."""
    effect, limit = detectable_effect(n, power=0.9), oracle.t.ppf(0.975, n - 1)

    def missed(s: float) -> float:
        below = oracle.norm.cdf(limit * s - effect * np.sqrt(n))
        return below * oracle.chi.pdf(s * np.sqrt(n - 1), n - 1) * np.sqrt(n - 1)

    assert integrate.quad(missed, 0, 12, limit=200)[0] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize(
    ("seeds", "power", "level"), [(1, 0.8, 0.05), (5, 1.0, 0.05), (5, 0.04, 0.05)]
)
def test_effects_that_cannot_be(seeds: int, power: float, level: float):
    with pytest.raises(SettingsError, match="at least 2 seeds"):
        detectable_effect(seeds, power=power, level=level)


# --- simulations; benchmarks/intervals.py has more -----------------------------------------------


def share_held(times: int, seeds: int) -> np.ndarray:
    """Shares of t and bootstrap intervals that hold the truth."""
    held = np.zeros(2)
    for number in range(times):
        found = paired_difference(differences(number, seeds), np.zeros(seeds))
        held += [found.student.holds(0.3), found.bootstrap.holds(0.3)]
    return held / times


def share_held_two_way(times: int) -> float:
    """Share of two-way intervals that hold the truth, which is 0."""
    held = sum(two_way_interval(a_table(n, 10, 40), seed=n).holds(0) for n in range(times))
    return held / times


def share_of_alarms(times: int) -> float:
    """Share of four arms like the first of which one at least is called different."""
    alarms = 0
    for number in range(times):
        values = np.random.default_rng(number).normal(size=(5, 10))
        alarms += min(holm([paired_difference(arm, values[0]).p for arm in values[1:]])) < 0.05
    return alarms / times


def test_intervals_hold_and_alarms_are_rare():
    """Within three standard errors of what is meant, at a tenth of the simulations."""
    np.testing.assert_allclose(share_held(200, 10), 0.95, atol=0.046)
    assert share_held_two_way(60) >= 0.95 - 0.085
    assert share_of_alarms(150) <= 0.05 + 0.054


@pytest.mark.slow
def test_intervals_hold_and_alarms_are_rare_in_two_thousand_simulations():
    for seeds in (10, 20):
        found = share_held(2000, seeds)
        assert (found >= 0.93).all() and (found <= 0.97).all()
    assert 0.93 <= share_held_two_way(2000) <= 0.97
    assert share_of_alarms(2000) <= 0.055
