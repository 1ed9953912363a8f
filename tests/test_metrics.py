"""Scores beside slow twins, theory and scikit-learn; nothing can flatter."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from scipy.special import ndtr
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, precision_score, recall_score

from placewise import metrics
from placewise.errors import SettingsError
from placewise.labels import Visibility
from placewise.metrics import (
    by_border_distance,
    by_point,
    conformal_factor,
    coverage,
    design_effect,
    diagonals,
    errors,
    label_areas,
    left_right_swaps,
    mean_error,
    mean_position_baseline,
    median_error,
    oks,
    p95_error,
    pair_distances,
    pck,
    presence,
    rmse,
    score_table,
    turns,
)

N, K = 40, 5
NAMES = ["snout", "left", "right", "middle", "tail"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def case(rng: np.random.Generator) -> dict:
    """Predictions on images of many sizes, with points of every state."""
    sizes = rng.integers(50, 200, (N, 2))
    truth = rng.random((N, K, 2)) * sizes[:, None, ::-1] - 0.5
    visibility = rng.choice(4, (N, K), p=[0.1, 0.2, 0.2, 0.5]).astype(np.int8)
    truth[visibility < Visibility.HIDDEN] = np.nan
    predicted = np.nan_to_num(truth) + rng.normal(0, 4, truth.shape)
    return {
        "names": NAMES,
        "sizes": sizes,
        "truth": truth,
        "visibility": visibility,
        "predicted": predicted,
        "scores": rng.random((N, K)),
        "radii": rng.uniform(2, 12, (N, K)),
    }


def off(case: dict) -> np.ndarray:
    return errors(case["predicted"], case["truth"])


def slow_errors(case: dict) -> dict[tuple[int, int], float]:
    """Distances of the located points, one by one."""
    return {
        (n, k): math.dist(case["predicted"][n, k], case["truth"][n, k])
        for n in range(N)
        for k in range(K)
        if case["visibility"][n, k] >= Visibility.HIDDEN
    }


# ---- distances


def test_states_are_those_of_the_formats():
    assert (metrics.UNLABELLED, metrics.HIDDEN) == (Visibility.UNLABELLED, Visibility.HIDDEN)


def test_errors_one_by_one(case):
    slow = slow_errors(case)
    assert len(slow) > 50
    fast = off(case)
    for n in range(N):
        for k in range(K):
            assert fast[n, k] == pytest.approx(slow.get((n, k), np.nan), nan_ok=True)


def test_numbers_of_errors_one_by_one(case):
    slow = sorted(slow_errors(case).values())
    assert mean_error(off(case)) == pytest.approx(statistics.fmean(slow))
    assert median_error(off(case)) == pytest.approx(statistics.median(slow))
    assert rmse(off(case)) == pytest.approx(math.sqrt(statistics.fmean(e * e for e in slow)))
    place = 0.95 * (len(slow) - 1)
    below, share = slow[int(place)], place - int(place)
    assert p95_error(off(case)) == pytest.approx(below + share * (slow[math.ceil(place)] - below))


def test_rmse_is_never_below_the_mean(rng):
    for _ in range(50):
        some = rng.exponential(3, 20)
        assert rmse(some) >= mean_error(some)
    assert rmse(np.full(7, 2.5)) == mean_error(np.full(7, 2.5))


def test_errors_do_not_change_with_shift_turn_or_order(case, rng):
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    moved = errors(case["predicted"] @ turn.T + 9, case["truth"] @ turn.T + 9)
    assert np.allclose(moved, off(case), equal_nan=True)
    assert np.allclose(
        errors(
            np.nan_to_num(case["truth"]),
            np.where(np.isnan(case["truth"]), np.nan, case["predicted"]),
        ),
        off(case),
        equal_nan=True,
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_prediction_of_a_located_point_is_refused(case, value):
    n, k = next(iter(slow_errors(case)))
    case["predicted"][n, k, 0] = value
    with pytest.raises(SettingsError, match=rf"1 located points .* index \({n}, {k}\)"):
        off(case)


def test_missing_prediction_of_another_point_is_no_matter(case):
    before = off(case)
    case["predicted"][case["visibility"] < Visibility.HIDDEN] = np.nan
    assert np.array_equal(off(case), before, equal_nan=True)


def test_shapes_must_match(case):
    with pytest.raises(SettingsError, match=r"\(39, 5, 2\).*\(40, 5, 2\)"):
        errors(case["predicted"][1:], case["truth"])
    with pytest.raises(SettingsError, match="end with 1, 2 or 3"):
        errors(np.zeros((4, 5)), np.zeros((4, 5)))


def test_numbers_of_nothing_are_none():
    nothing = np.full((3, 2), np.nan)
    for score in (mean_error, median_error, p95_error, rmse):
        assert score(nothing) is None
        assert score(np.empty(0)) is None
    assert pck(nothing, np.ones(3), [0.1]) == [None]
    assert coverage(nothing, np.ones((3, 2))) is None
    assert by_point(["a", "b"], nothing)[1] == {
        "point": "b",
        "count": 0,
        "mean_error_px": None,
        "median_error_px": None,
        "p95_error_px": None,
    }


@pytest.mark.parametrize("norm", ["diagonal", "pair"])
def test_pck_one_by_one(case, norm):
    slow = slow_errors(case)
    if norm == "diagonal":
        norms = diagonals(case["sizes"])
        own = [math.hypot(*size) for size in case["sizes"]]
    else:
        norms = pair_distances(case["truth"], 0, 4)
        own = [math.dist(case["truth"][n, 0], case["truth"][n, 4]) for n in range(N)]
    for threshold, share in zip(
        (0.02, 0.05, 0.1), pck(off(case), norms, (0.02, 0.05, 0.1)), strict=True
    ):
        hits = [e <= threshold * own[n] for (n, _), e in slow.items() if not math.isnan(own[n])]
        assert 10 < len(hits) <= len(slow)
        assert share == pytest.approx(statistics.fmean(hits))


def test_pck_counts_an_error_on_the_threshold_and_rises(rng):
    assert pck(np.array([[2.0]]), np.array([10.0]), [0.2]) == [1.0]
    shares = pck(rng.exponential(5, (30, 4)), np.full(30, 50.0), np.linspace(0, 1, 20))
    assert shares == sorted(shares)


def test_pck_leaves_out_images_without_a_norm():
    off = np.array([[1.0], [1.0], [1.0]])
    assert pck(off, np.array([np.nan, 0.0, 100.0]), [0.05]) == [1.0]
    assert pck(off[:2], np.array([np.nan, 0.0]), [0.05]) == [None]


def test_oks_one_by_one(case):
    sigmas = np.linspace(0.05, 0.2, K)
    areas = label_areas(case["truth"])
    fast = oks(off(case), areas, sigmas)
    slow = slow_errors(case)
    for n in range(N):
        known = [case["truth"][n, k] for k in range(K) if (n, k) in slow]
        xs, ys = [p[0] for p in known], [p[1] for p in known]
        area = (max(xs) - min(xs)) * (max(ys) - min(ys)) if known else 0
        if area == 0:
            assert np.isnan(areas[n]) and np.isnan(fast[n])
            continue
        assert areas[n] == pytest.approx(area)
        each = [
            math.exp(-(slow[n, k] ** 2) / (2 * area * (2 * sigmas[k]) ** 2))
            for k in range(K)
            if (n, k) in slow
        ]
        assert fast[n] == pytest.approx(statistics.fmean(each))


def test_oks_is_one_when_right_and_does_not_know_the_unit(case):
    areas = label_areas(case["truth"])
    perfect = oks(np.where(np.isnan(off(case)), np.nan, 0.0), areas)
    assert np.array_equal(perfect[~np.isnan(perfect)], np.ones((~np.isnan(perfect)).sum()))
    bigger = errors(3 * case["predicted"], 3 * case["truth"])
    scaled = oks(bigger, label_areas(3 * case["truth"]))
    assert np.allclose(scaled, oks(off(case), areas), equal_nan=True)


def test_area_of_points_on_a_line_is_unknown():
    line = np.array([[[1.0, 5.0], [9.0, 5.0]], [[3.0, 3.0], [3.0, 3.0]]])
    assert np.isnan(label_areas(line)).all()
    assert np.isnan(oks(np.zeros((2, 2)), label_areas(line))).all()


def test_by_point_is_each_column(case):
    table = by_point(NAMES, off(case))
    slow = slow_errors(case)
    assert [row["point"] for row in table] == NAMES
    for k, row in enumerate(table):
        each = [e for (_, column), e in slow.items() if column == k]
        assert row["count"] == len(each)
        assert row["mean_error_px"] == pytest.approx(statistics.fmean(each))
        assert row["median_error_px"] == pytest.approx(statistics.median(each))
    total = sum(row["count"] * row["mean_error_px"] for row in table)
    assert total / sum(row["count"] for row in table) == pytest.approx(mean_error(off(case)))


def test_by_border_distance_one_by_one(case):
    edges = (0, 0.05, 0.1, 0.2, 0.4, 1)
    bands = by_border_distance(off(case), case["truth"], case["sizes"], edges)
    slow = slow_errors(case)
    members = [[] for _ in bands]
    for (n, k), error in slow.items():
        (x, y), (height, width) = case["truth"][n, k], case["sizes"][n]
        nearest = min(x + 0.5, y + 0.5, width - 0.5 - x, height - 0.5 - y)
        share = nearest / (min(height, width) / 2)
        members[max(i for i in range(5) if edges[i] <= share)].append(error)
    assert all(members)
    for band, low, high, each in zip(bands, edges[:-1], edges[1:], members, strict=True):
        assert (band["from_share"], band["to_share"]) == (low, high)
        assert band["count"] == len(each)
        assert band["mean_error_px"] == pytest.approx(statistics.fmean(each))


def test_by_border_distance_at_the_edges_of_bands():
    """Outside, on the edge, in the corner, in the very middle; a band holds its lower edge."""
    truth = np.array([[[-3.0, 50.0], [-0.5, 50.0], [99.5, 99.5], [49.5, 49.5], [4.5, 50.0]]])
    bands = by_border_distance(np.arange(5.0)[None], truth, np.array([[100, 100]]), (0, 0.1, 1))
    assert [(band["count"], band["mean_error_px"]) for band in bands] == [(3, 1.0), (2, 3.5)]


def test_by_border_distance_of_nothing():
    bands = by_border_distance(np.empty((0, 2)), np.empty((0, 2, 2)), np.empty((0, 2)))
    assert [band["count"] for band in bands] == [0] * 5
    assert {band["mean_error_px"] for band in bands} == {None}


# ---- baseline


def test_baseline_one_by_one(case, rng):
    train = rng.random((30, K, 2)) * 80
    sizes = rng.integers(90, 120, (30, 2))
    train[rng.random((30, K)) < 0.3] = np.nan
    train[:, 3] = np.nan
    each = []
    for (n, k), _ in slow_errors(case).items():
        (x, y), (height, width) = case["truth"][n, k], case["sizes"][n]
        known = [i for i in range(30) if not np.isnan(train[i, k, 0])]
        right = [(train[i, k, 0] + 0.5) / sizes[i, 1] for i in known] or [0.5]
        down = [(train[i, k, 1] + 0.5) / sizes[i, 0] for i in known] or [0.5]
        answer = statistics.fmean(right) * width - 0.5, statistics.fmean(down) * height - 0.5
        each.append(math.dist(answer, (x, y)))
    fast = mean_position_baseline(train, sizes, case["truth"], case["sizes"])
    assert fast == pytest.approx(statistics.fmean(each))


def test_baseline_of_one_size_is_the_plain_mean(rng):
    train, test = rng.random((20, 3, 2)) * 60, rng.random((9, 3, 2)) * 60
    size = np.array([[64, 80]])
    plain = mean_error(errors(np.broadcast_to(train.mean(0), test.shape), test))
    found = mean_position_baseline(train, size.repeat(20, 0), test, size.repeat(9, 0))
    assert found == pytest.approx(plain)


def test_baseline_grows_with_the_images(rng):
    train, test = rng.random((20, 3, 2)) * 60, rng.random((9, 3, 2)) * 60
    size = np.full((20, 2), 64)
    small = mean_position_baseline(train, size, test, size[:9])
    large = mean_position_baseline(train, size, 2 * (test + 0.5) - 0.5, 2 * size[:9])
    assert large == pytest.approx(2 * small)


# ---- presence


def test_presence_beside_scikit_learn(rng):
    present = rng.random(400) < 0.6
    scores = (0.7 * present + 0.6 * rng.random(400)).clip(0, 1)
    scores[:3] = 0.5, 0.0, 1.0
    found = presence(scores, present)
    assert found["precision"] == pytest.approx(precision_score(present, scores >= 0.5))
    assert found["recall"] == pytest.approx(recall_score(present, scores >= 0.5))
    assert found["brier"] == pytest.approx(brier_score_loss(present, scores))
    assert (found["present"], found["absent"]) == (present.sum(), 400 - present.sum())


def test_calibration_error_beside_scikit_learn_and_one_by_one(rng):
    scores = rng.random(500)
    present = rng.random(500) < 0.5 + 0.5 * np.sin(25 * scores)
    shares, means = calibration_curve(present, scores, n_bins=10, strategy="uniform")
    counts = np.histogram(scores, 10, (0, 1))[0]
    found = presence(scores, present)["calibration_error"]
    assert found == pytest.approx((counts * np.abs(shares - means)).sum() / 500)
    bins = [[] for _ in range(10)]
    for score, there in zip(scores, present, strict=True):
        bins[min(int(score * 10), 9)].append((score, there))
    gaps = [abs(sum(s for s, _ in b) - sum(t for _, t in b)) for b in bins]
    assert found == pytest.approx(sum(gaps) / 500)


def test_calibrated_scores_have_little_calibration_error(rng):
    scores = rng.random(100_000)
    honest = presence(scores, rng.random(100_000) < scores)
    assert honest["calibration_error"] < 0.01
    assert honest["brier"] == pytest.approx(1 / 6, abs=0.005)  # ∫ s(1 − s) ds
    sure = presence(np.round(scores), rng.random(100_000) < scores)
    assert sure["calibration_error"] == pytest.approx(0.25, abs=0.01)


def test_presence_without_absent_labels_says_nothing_but_recall():
    found = presence(np.array([1.0, 1.0, 0.2]), np.ones(3, bool))
    assert found == {
        "precision": None,
        "recall": pytest.approx(2 / 3),
        "calibration_error": None,
        "brier": None,
        "present": 3,
        "absent": 0,
    }


def test_presence_of_nothing_and_of_absent_only():
    nothing = presence(np.empty(0), np.empty(0, bool))
    assert [nothing[key] for key in ("precision", "recall", "brier")] == [None] * 3
    absent = presence(np.array([0.9, 0.1]), np.zeros(2, bool))
    assert (absent["precision"], absent["recall"]) == (0.0, None)
    assert presence(np.array([0.1]), np.zeros(1, bool))["precision"] is None


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_scores_must_be_probabilities(wrong):
    with pytest.raises(SettingsError, match="probabilities"):
        presence(np.array([0.5, wrong]), np.array([True, False]))


# ---- radii


def slow_effect(ratios) -> float:
    """Ranks by counting, each pair of points by itself; see `design_effect`."""
    images = [[r for r in row if not math.isnan(r)] for row in ratios]
    images = [row for row in images if row]
    everything = [r for row in images for r in row]

    def rank(value: float) -> int:
        return sum(int(other < value) - int(other > value) for other in everything)

    squares = sum(rank(r) ** 2 for r in everything)
    together = sum(rank(a) * rank(b) for row in images for a in row for b in row)
    most = sum(len(row) ** 2 for row in images) / len(everything)
    if len(images) < 2 or not squares:
        return most
    return min(most, max(1, len(images) / (len(images) - 1) * together / squares))


def slow_factor(off, spread, level: float) -> float | None:
    """The definition, with numpy's sorting left out: count upwards until enough are covered."""
    table = [[o / s for o, s in zip(*rows, strict=True)] for rows in zip(off, spread, strict=True)]
    ratios = [r for row in table for r in row if not math.isnan(r)]
    rank = level * len(ratios) + 0.5 + (level - 0.5) * slow_effect(table)
    need = math.ceil(round(rank, 9))
    return min((q for q in ratios if sum(r <= q for r in ratios) >= need), default=None)


@pytest.mark.parametrize("points", [1, 4])
@pytest.mark.parametrize("images", [1, 2, 8, 9, 24])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_factor_one_by_one(rng, images, points, level):
    hard = rng.exponential(1, (images, 1))
    off, spread = hard * rng.exponential(3, (images, points)), rng.uniform(1, 4, (images, points))
    off[:, :1] = np.round(off[:, :1])
    off.reshape(-1)[1:][rng.random(off.size - 1) < 0.1] = np.nan
    factor = conformal_factor(off, spread, level)
    assert factor == pytest.approx(slow_factor(off, spread, level))
    if points == 1:
        known = int(np.isfinite(off).sum())
        assert (factor is None) == (math.ceil(round((known + 1) * level, 9)) > known)


def test_factor_is_a_ratio(rng):
    off, spread = rng.exponential(3, (30, 4)), rng.uniform(1, 4, (30, 4))
    factor = conformal_factor(off, spread)
    assert conformal_factor(5 * off, 5 * spread) == pytest.approx(factor)
    assert conformal_factor(off, 2 * spread) == pytest.approx(factor / 2)
    assert coverage(off, factor * spread) >= 0.9


@pytest.mark.parametrize("count", [9, 15, 36, 60])
def test_coverage_of_simulated_radii_is_what_theory_says(count, repeats=1500):
    """Exchangeable points: the mean coverage is ⌈(n+1)·0.9⌉ / (n+1), in 0.9 … 0.9 + 1/(n+1)."""
    rng = np.random.default_rng(3)
    spread = rng.uniform(0.5, 5, (repeats, count))
    share = rng.random(spread.shape)  # of the truths that a radius of this ratio holds
    factors = [conformal_factor(-s * np.log1p(-u), s) for s, u in zip(spread, share, strict=True)]
    covered = -np.expm1(-np.array(factors))
    expected = math.ceil(round((count + 1) * 0.9, 9)) / (count + 1)
    assert 0.9 <= expected <= 0.9 + 1 / (count + 1)
    noise = 4 * math.sqrt(0.09 / (count + 2) / repeats)
    assert covered.mean() == pytest.approx(expected, abs=noise)


@pytest.mark.parametrize("images, points", [(7, 16), (20, 10)])
@pytest.mark.parametrize("together", [0.0, 0.6, 0.9])
def test_radii_hold_though_the_points_of_an_image_err_together(images, points, together):
    """Ratios that are normal, with a correlation within images; the known rank would hold less."""
    rng, covered, plain = np.random.default_rng(4), [], []
    for _ in range(300):
        hard, own = rng.standard_normal((images, 1)), rng.standard_normal((images, points))
        ratios = np.exp(math.sqrt(together) * hard + math.sqrt(1 - together) * own)
        factor = conformal_factor(ratios, np.ones_like(ratios))
        covered.append(ndtr(np.log(factor)))
        plain.append(ndtr(np.log(conformal_factor(ratios.ravel(), np.ones(ratios.size)))))
    assert 0.89 <= np.mean(covered) <= 0.925
    assert np.mean(plain) < (0.895 if together else 0.91)
    assert (np.mean(covered) > np.mean(plain) + 0.005) == (together > 0)


def test_too_few_points_have_no_factor_that_holds():
    assert conformal_factor(np.arange(1.0, 9.0), np.ones(8)) is None
    assert conformal_factor(np.arange(1.0, 10.0), np.ones(9)) == 9.0  # n = 9 just suffices
    assert conformal_factor(np.arange(1.0, 21.0), np.ones(20)) == 19.0
    assert conformal_factor(np.array([np.nan]), np.array([1.0])) is None


def test_one_image_says_nothing_however_many_points_it_has():
    one = np.arange(1.0, 101.0)[None]
    assert conformal_factor(one, np.ones_like(one)) is None
    assert conformal_factor(one.T, np.ones_like(one.T)) == 91.0


def test_uncertainties_of_zero_count_as_not_covered():
    off, spread = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    assert conformal_factor(off, spread, 0.5) == 3.0
    assert conformal_factor(off, spread, 0.6) == 4.0
    assert conformal_factor(off, spread, 0.8) is None  # the fifth is infinite
    assert conformal_factor(np.zeros(3), np.zeros(3), 0.5) == 0.0


def test_a_design_effect_is_between_alone_and_all_alike(rng):
    alone, alike = rng.random(30), np.repeat(rng.random((30, 1)), 6, axis=1)
    assert design_effect(alone) == 1.0
    assert design_effect(alike) == pytest.approx(6.0)
    some = 0.5 * alike + 0.5 * rng.random((30, 6))
    assert 1.5 < design_effect(some) == design_effect(np.exp(9 * some)) < 6
    assert design_effect(rng.random((500, 6))) < 1.4


@pytest.mark.parametrize(
    "off, spread, level, message",
    [
        ([1.0, 1.0], [1.0, np.nan], 0.9, "the least uncertainty is"),
        ([1.0, 1.0], [1.0, -1.0], 0.9, "-1"),
        ([1.0], [1.0], 1.0, "level"),
        ([1.0], [1.0], 0.0, "level"),
    ],
)
def test_impossible_radii_are_refused(off, spread, level, message):
    with pytest.raises(SettingsError, match=message):
        conformal_factor(np.array(off), np.array(spread), level)


def test_a_radius_that_is_not_a_number_covers_nothing():
    assert coverage(np.array([1.0, 1.0]), np.array([np.nan, 2.0])) == 0.5


# ---- swaps

MOUSE = np.array([[0.0, -20], [-8, -10], [8, -10], [0, 25]])
FACE = np.array(
    [[0.0, -10], [0, 0], [0, 20], [-15, -12], [15, -12], [-12, 10], [12, 10], [-25, 0], [25, 0]]
)
SHAPES = {"mouse": (MOUSE, [(1, 2)]), "face": (FACE, [(3, 4), (5, 6), (7, 8)])}
LIZARD = np.array([[-6.0, 0], [6, 0], [-5, 30], [5, 30], [-4, 70], [4, 70]])


def drawn(shape: np.ndarray, count: int, rng: np.random.Generator, noise: float = 1.0):
    """The shape turned, scaled and shifted at random, with noise on each point."""
    angle, scale = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.5, 3, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    jitter = rng.normal(0, noise, (count, *shape.shape))
    turned = np.einsum("ijn,nkj->nki", turn, shape + jitter) * scale[:, None, None]
    return turned + rng.uniform(0, 500, (count, 1, 2))


def swap(points: np.ndarray, image: int, pair: tuple[int, int]) -> None:
    points[image, list(pair)] = points[image, list(pair)[::-1]]


def found_in(points: np.ndarray, pairs: list[tuple[int, int]]) -> set[tuple[int, int]]:
    return {(image, pair) for image, pair, _ in left_right_swaps(points, pairs)}


@pytest.mark.parametrize("name", SHAPES)
def test_planted_swaps_are_found_and_no_others(rng, name):
    shape, pairs = SHAPES[name]
    points = drawn(shape, 80, rng)
    assert left_right_swaps(points, pairs) == []
    planted = {(image, image % len(pairs)) for image in (0, 7, 23, 50, 79)}
    for image, pair in planted:
        swap(points, image, pairs[pair])
    assert found_in(points, pairs) == planted


def test_image_with_all_pairs_swapped_is_found(rng):
    points = drawn(FACE, 60, rng)
    for pair in SHAPES["face"][1]:
        swap(points, 11, pair)
    assert found_in(points, SHAPES["face"][1]) == {(11, 0), (11, 1), (11, 2)}


@pytest.mark.parametrize("alone", [[], [[0.0, -20.0]]], ids=["none", "one"])
def test_swaps_are_found_where_nearly_every_point_has_a_partner(rng, alone):
    pairs = [(0, 1), (2, 3), (4, 5)]
    points = drawn(np.array([*LIZARD.tolist(), *alone]), 60, rng, 0.5)
    assert left_right_swaps(points, pairs) == []
    swap(points, 4, pairs[1])
    assert found_in(points, pairs) == {(4, 1)}


def test_swaps_are_found_among_missing_points(rng):
    shape, pairs = SHAPES["face"]
    points = drawn(shape, 100, rng)
    planted = {(3, 0), (44, 1), (97, 2)}
    for image, pair in planted:
        swap(points, image, pairs[pair])
    missing = rng.random(points.shape[:2]) < 0.25
    missing[[3, 44, 97]] = False
    points[missing] = np.nan
    assert found_in(points, pairs) == planted


def test_swaps_do_not_change_with_shift_turn_and_scale(rng):
    shape, pairs = SHAPES["mouse"]
    points = drawn(shape, 30, rng, 3.0)
    swap(points, 5, pairs[0])
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    first = left_right_swaps(points, pairs)
    second = left_right_swaps(3 * points @ turn.T + 50, pairs)
    assert found_in(points, pairs) == {(5, 0)}
    assert first[0][:2] == second[0][:2]
    assert first[0][2] == pytest.approx(second[0][2], rel=0.1)  # medians are taken along x and y


def test_clearest_swap_comes_first(rng):
    shape, pairs = SHAPES["face"]
    points = drawn(shape, 60, rng, 3.0)
    for image in range(6):
        swap(points, image, pairs[image % 3])
    ratios = [ratio for *_, ratio in left_right_swaps(points, pairs)]
    assert len(ratios) >= 4
    assert ratios == sorted(ratios, reverse=True)
    assert all(isinstance(ratio, float) and 2 <= ratio < 200 for ratio in ratios)


@pytest.mark.parametrize("every, noise", [(2, 1.0), (3, 0.0), (3, 1.0)])
def test_pair_without_a_side_is_passed_over(rng, every, noise):
    """People seen from the front and from behind: left lies on either side."""
    shape, pairs = SHAPES["mouse"]
    points = drawn(shape, 60, rng, noise)
    for image in range(0, 60, every):
        swap(points, image, pairs[0])
    assert left_right_swaps(points, pairs) == []


def test_pair_that_lies_anywhere_is_passed_over(rng):
    """Hands: the other points do not say where they are, so either way may be far off."""
    points = drawn(MOUSE, 60, rng)
    points[:, 1:3] += rng.normal(0, 100, (60, 2, 2))
    assert left_right_swaps(points, SHAPES["mouse"][1]) == []


def test_perfect_swap_has_a_finite_ratio():
    points = np.stack([MOUSE, MOUSE + 7, 2 * MOUSE, MOUSE[[0, 2, 1, 3]]])
    ((image, pair, ratio),) = left_right_swaps(points, [(1, 2)])
    assert (image, pair) == (3, 0)
    assert ratio == pytest.approx(100 * math.sqrt(2))


def test_what_cannot_be_judged_gives_nothing():
    few = np.stack([MOUSE, MOUSE[[0, 2, 1, 3]]])
    assert left_right_swaps(few, [(1, 2)]) == []
    assert left_right_swaps(np.full((9, 4, 2), np.nan), [(1, 2)]) == []
    assert left_right_swaps(np.empty((0, 4, 2)), [(1, 2)]) == []
    assert left_right_swaps(np.zeros((9, 4, 2)), [(1, 2)]) == []
    assert left_right_swaps(np.stack([MOUSE] * 9), []) == []
    only_pair = np.stack([MOUSE[[1, 2]]] * 9)
    assert left_right_swaps(only_pair, [(0, 1)]) == []


# ---- the table


def test_table_is_made_of_its_parts(case):
    table = score_table(**case)
    located = case["visibility"] >= Visibility.HIDDEN
    labelled = case["visibility"] != Visibility.UNLABELLED
    assert table["images"] == N
    assert table["located"] == located.sum() == len(slow_errors(case))
    assert table["mean_error_px"] == mean_error(off(case))
    assert table["median_error_px"] == median_error(off(case))
    assert table["p95_error_px"] == p95_error(off(case))
    assert table["rmse_px"] == rmse(off(case))
    shares = pck(off(case), diagonals(case["sizes"]), (0.02, 0.05, 0.1))
    assert table["pck"] == {
        "norm": "diagonal",
        **dict(zip(("0.02", "0.05", "0.1"), shares, strict=True)),
    }
    assert table["oks"] == mean_error(oks(off(case), label_areas(case["truth"])))
    assert table["by_point"] == by_point(NAMES, off(case))
    assert table["by_border_distance"] == by_border_distance(
        off(case), case["truth"], case["sizes"]
    )
    assert table["presence"] == presence(case["scores"][labelled], located[labelled])
    assert table["radius"] == {
        "coverage_90": coverage(off(case), case["radii"]),
        "mean_radius_90_px": pytest.approx(case["radii"][located].mean()),
    }


def test_counts_of_the_table_add_up(case):
    table = score_table(**case)
    located = table["located"]
    assert sum(row["count"] for row in table["by_point"]) == located
    assert sum(band["count"] for band in table["by_border_distance"]) == located
    assert table["presence"]["present"] == located
    assert table["presence"]["absent"] == (case["visibility"] == Visibility.ABSENT).sum() > 0


def test_truth_of_points_that_are_not_located_is_never_read(case):
    table = score_table(**case)
    case["truth"][case["visibility"] < Visibility.HIDDEN] = 7.0
    assert score_table(**case) == table


def test_pck_of_a_named_pair(case):
    table = score_table(**case, pck_pair=("tail", "snout"))["pck"]
    assert table["norm"] == "tail to snout"
    assert table["0.1"] == pck(off(case), pair_distances(case["truth"], 4, 0), [0.1])[0]


def plain(value: object) -> bool:
    """Nothing but what JSON holds, and no numpy number in disguise."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(plain(item) for item in value)
    return value is None or type(value) in (str, int, float)


@pytest.mark.parametrize("state", [None, *Visibility])
def test_table_is_plain_json_whatever_is_labelled(case, state):
    if state is not None:
        case["visibility"][:] = state
        case["truth"] = case["predicted"] + 1
    table = score_table(**case)
    assert plain(table)
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_table_of_a_run_without_radii(case):
    case["radii"][:] = np.nan
    assert score_table(**case)["radius"] == {"coverage_90": None, "mean_radius_90_px": None}


@pytest.mark.parametrize(
    "key, change, message",
    [
        ("predicted", lambda a: a[1:], "predicted"),
        ("scores", lambda a: a[:, 1:], r"scores \(40, 4\)"),
        ("radii", lambda a: a.T, "radii"),
        ("names", lambda a: a[1:], "4 names"),
        ("sizes", lambda a: a[1:], "39 sizes"),
        ("visibility", lambda a: np.full_like(a, Visibility.VISIBLE), "have no coordinates"),
        ("pck_pair", lambda _: ("snout", "nose"), "snout, left, right"),
        ("pck_pair", lambda _: ("tail", "tail"), "two different points"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(case, key, change, message):
    case[key] = change(case.get(key))
    with pytest.raises(SettingsError, match=message):
        score_table(**case)


def test_turns_are_the_angles_by_which_images_were_turned(rng):
    """Turn, shift and scale a shape by known amounts; the turns differ by just the angles."""
    shape = rng.normal(size=(6, 2)) * 20
    angles = rng.uniform(-40, 40, 9)
    cos, sin = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    turned = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2) @ shape.T
    points = turned.swapaxes(1, 2) * rng.uniform(0.5, 2, (9, 1, 1)) + rng.normal(size=(9, 1, 2))
    points[4, 2] = np.nan
    found = turns(points)
    assert found - found[0] == pytest.approx(angles - angles[0], abs=1e-6)
    points[3, 1:] = np.nan
    assert np.isnan(turns(points)[3])
