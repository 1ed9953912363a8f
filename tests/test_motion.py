"""Smoothing, jumps and gaps: laws, and slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from placewise.errors import SettingsError
from placewise.motion import (
    NOISE,
    WANDERING,
    Track,
    doubt,
    ensemble,
    ensemble_smoothed,
    jumps_of,
    kalman_smoothed,
    longest,
    median_smoothed,
    worst_frames,
)

RNG = np.random.default_rng(3)


def track(places: np.ndarray, score: float = 0.9) -> Track:
    shape = places.shape[:2]
    return Track(places, np.full(shape, score), np.ones(shape))


def slow_median(values: np.ndarray, window: int) -> np.ndarray:
    smooth = values.copy()
    for t in range(len(values)):
        half = min(window // 2, t, len(values) - 1 - t)
        near = values[t - half : t + half + 1]
        near = near[~np.isnan(near)]
        if not np.isnan(values[t]):
            smooth[t] = np.median(near)
    return smooth


@pytest.mark.parametrize("window", [1, 3, 5, 9])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 40])
def test_a_median_is_that_of_its_twin(window: int, count: int) -> None:
    values = RNG.normal(size=count) * 9
    values[RNG.random(count) < 0.2] = np.nan
    places = np.stack([values, values[::-1]], 1).reshape(count, 1, 2)
    found = median_smoothed(places, window)
    assert np.array_equal(found[:, 0, 0], slow_median(values, window), equal_nan=True)
    assert np.array_equal(found[:, 0, 1], slow_median(values[::-1], window), equal_nan=True)


def test_a_steady_movement_stays_as_it_is_to_both_ends() -> None:
    line = np.linspace(3, 90, 30)[:, None, None] * np.ones((1, 2, 2))
    assert np.array_equal(median_smoothed(line, 7), line)
    assert np.array_equal(median_smoothed(line * 0 + 41.7, 7), line * 0 + 41.7)


@pytest.mark.parametrize("window", [0, 4, -3])
def test_a_median_has_a_middle(window: int) -> None:
    with pytest.raises(SettingsError, match="odd number of frames"):
        median_smoothed(np.zeros(9), window)


def slow_smoother(seen: np.ndarray, noise: np.ndarray, walk: float) -> tuple[np.ndarray, float]:
    """Most likely walk, and the log likelihood of what was seen, by one matrix for all frames.

    The walk begins anywhere, so the likelihood is that of the differences from the first.
    """
    count = len(seen)
    known = np.flatnonzero(~np.isnan(seen))
    precision = np.zeros((count, count))
    for t in range(1, count):
        step = np.zeros(count)
        step[[t - 1, t]] = -1, 1
        precision += np.outer(step, step) / walk
    precision[known, known] += 1 / noise[known]
    right = np.zeros(count)
    right[known] = seen[known] / noise[known]
    smooth = np.linalg.solve(precision, right)
    first, rest = known[0], known[1:]
    covariance = noise[first] + walk * np.minimum.outer(rest - first, rest - first).astype(float)
    covariance += np.diag(noise[rest])
    off = seen[rest] - seen[first]
    _, logdet = np.linalg.slogdet(covariance)
    return smooth, -0.5 * (logdet + off @ np.linalg.solve(covariance, off))


@pytest.mark.parametrize("gaps", [False, True])
def test_the_smoother_is_that_of_its_twin(gaps: bool) -> None:
    walk = np.cumsum(RNG.normal(size=(40, 3)), 0)
    noise = RNG.uniform(0.2, 4, walk.shape)
    seen = walk + RNG.normal(size=walk.shape) * np.sqrt(noise)
    if gaps:
        seen[RNG.random(seen.shape) < 0.2] = np.nan
        seen[:3, 0] = seen[-2:, 1] = np.nan
    found = kalman_smoothed(seen, noise)
    for column in range(3):
        usual = max(np.nanmean(np.diff(seen[:, column]) ** 2), NOISE)
        twins = [slow_smoother(seen[:, column], noise[:, column], usual * w) for w in WANDERING]
        best = max(twins, key=lambda twin: twin[1])[0]
        assert found[:, column] == pytest.approx(best, abs=1e-8)
        assert 0 < np.argmax([twin[1] for twin in twins]) < len(WANDERING) - 1


def test_a_constant_track_stays_constant_to_both_ends() -> None:
    still = np.full((50, 2, 2), 137.25)
    for runs in ([still, still], [still, still + 4.0, still - 4.0]):
        smooth = ensemble_smoothed([track(one) for one in runs]).places
        assert np.abs(smooth - 137.25).max() < 1e-9


def test_the_smoother_of_three_runs_is_nearer_than_their_mean() -> None:
    """Where one run is off for a moment, it is the others and the neighbours that count."""
    t = np.arange(300)
    truth = np.stack([100 + 40 * np.sin(t / 20), 80 + 30 * np.cos(t / 25)], -1)[:, None]
    runs = [truth + RNG.normal(size=truth.shape) for _ in range(3)]
    for start in (50, 150, 240):
        runs[start % 3][start : start + 4] += 45
    smooth = ensemble_smoothed([track(one) for one in runs])
    mean = ensemble([track(one) for one in runs])

    def error(one: Track) -> float:
        return float(np.linalg.norm(one.places - truth, axis=-1).mean())

    assert error(smooth) < 0.8 * error(mean)
    assert np.isnan(smooth.radii).all()


def test_what_no_run_has_stays_missing() -> None:
    one, other = (RNG.normal(size=(20, 1, 2)) for _ in range(2))
    one[5:8] = other[6:9] = np.nan
    smooth = ensemble_smoothed([track(one), track(other)])
    assert np.flatnonzero(~smooth.there[:, 0]).tolist() == [6, 7]
    assert np.array_equal(ensemble([track(one), track(other)]).places[5], other[5])


def test_one_run_is_no_ensemble() -> None:
    with pytest.raises(SettingsError, match="eks needs two runs or more"):
        ensemble_smoothed([track(np.zeros((3, 1, 2)))])


def test_jumps_are_long_and_unusual() -> None:
    walk = np.zeros((60, 2, 2))
    walk[:, 0, 0] = 30 * np.arange(60)  # a fast one: 30 px a frame is its usual step
    walk[30:, 1, 0] = 25
    walk[45, 0, 1] = 400
    found = np.argwhere(jumps_of(walk)).tolist()
    assert found == [[30, 1], [45, 0], [46, 0]]


def test_the_longest_gap_is_found_at_the_ends_too() -> None:
    assert longest(np.array([True, True, False, True])) == (0, 2)
    assert longest(np.array([False, True, False, True, True])) == (3, 2)
    assert longest(np.zeros(4, bool)) == (0, 0)


def test_the_worst_frames_have_low_scores_or_jumps_and_lie_apart() -> None:
    one = track(np.zeros((100, 2, 2)))
    one.scores[40:45] = 0.1
    one.places[80, 0] = 60
    doubts = doubt([one, track(np.full((100, 2, 2), 9.0))], 100, 0.5, 20.0)
    assert worst_frames(doubts, 2) == [40, 80]
    assert len(worst_frames(doubts, 30)) == 30 and len(worst_frames(doubts, 200)) == 100


def test_a_wide_circle_is_no_sure_keypoint() -> None:
    """A run that has hardly learnt gives high scores and circles of half the image."""
    one = track(np.zeros((6, 2, 2)))
    one.radii[:] = 1.0
    one.radii[2:4, 1] = 60.0
    assert one.unsure(0.5, far=40.0)[:, 1].tolist() == [False, False, True, True, False, False]
    doubts = doubt([one], 6, 0.5, far=40.0)
    assert (doubts[2:4] > doubts[:2].max()).all() and (doubts[4:] == doubts[0]).all()


def test_a_gate_empties_what_is_not_sure() -> None:
    one = track(np.zeros((3, 2, 2)))
    one.scores[1, 0] = 0.2
    one.scores[2, 1] = np.nan
    assert one.gated(0.5).there.tolist() == [[True, True], [False, True], [True, False]]
