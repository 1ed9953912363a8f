"""Matching and counting of many points, beside twins that try everything."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from placewise.metrics import (
    SpotSet,
    average_precision,
    best_score,
    detection_scores,
    detections_by_border,
    detections_near_ends,
    match,
)

NOTHING = np.empty((0, 2, 2))


def crowd(rng: np.random.Generator, most: int, axes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """True and found points in so small a box that many are within the tolerance of several."""
    n, m = rng.integers(0, most + 1, 2)
    return rng.uniform(0, 6, (n, axes)).round(1), rng.uniform(0, 6, (m, axes)).round(1)


def slow_match(truth: np.ndarray, found: np.ndarray, tolerance: float) -> tuple[int, float]:
    """(pairs, sum of squares) of the best of all ways to pair the points."""
    best = (0, 0.0)
    short, long = (truth, found) if len(truth) <= len(found) else (found, truth)
    for order in itertools.permutations(range(len(long)), len(short)):
        squares = [((short[i] - long[j]) ** 2).sum() for i, j in enumerate(order)]
        kept = [one for one in squares if one <= tolerance**2]
        best = min(best, (-len(kept), sum(kept)))
    return -best[0], best[1]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_matching_is_the_best_of_all_ways(axes: int) -> None:
    rng = np.random.default_rng(axes)
    several, tolerance = 0, 3.5 if axes == 3 else 2.0
    for _ in range(100):
        truth, found = crowd(rng, 5, axes)
        pairs = match(truth, found, tolerance)
        apart = ((truth[pairs[:, 0]] - found[pairs[:, 1]]) ** 2).sum(-1)
        count, squares = slow_match(truth, found, tolerance)
        assert (apart <= tolerance**2).all() and len(set(pairs[:, 0])) == len(
            set(pairs[:, 1])
        ) == count
        assert apart.sum() == pytest.approx(squares)
        several += count > 2
    assert several > 5


def test_more_pairs_weigh_more_than_any_distance() -> None:
    """The nearest pair alone would leave the other point without one."""
    truth, found = np.array([[0.0], [1.0]]), np.array([[1.0], [2.9]])
    assert match(truth, found, 2.0).tolist() == [[0, 0], [1, 1]]
    assert match(truth, found, 1.5).tolist() == [[1, 0]]


def test_matching_does_not_depend_on_the_order_or_on_what_is_far() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.uniform(0, 60, (80, 2)), rng.uniform(0, 60, (90, 2))
    pairs = {tuple(pair) for pair in match(truth, found, 4.0)}
    a, b = rng.permutation(80), rng.permutation(90)
    mixed = {(a[i], b[j]) for i, j in match(truth[a], found[b], 4.0)}
    assert pairs == mixed and len(pairs) > 30
    far = np.concatenate([truth, truth + 1000]), np.concatenate([found, found + 1000])
    assert len(match(*far, 4.0)) == 2 * len(pairs)


def test_scores_are_pooled_and_empty_images_add_nothing() -> None:
    """4 true, 3 found of which 2 right: a mean over images would say something else."""
    one = SpotSet(
        (20, 20), np.array([[5.0, 5], [9, 9], [15, 2]]), np.array([[5.0, 6]]), np.ones(1), NOTHING
    )
    two = SpotSet((20, 20), np.array([[5.0, 5]]), np.array([[5.0, 5], [1, 1]]), np.ones(2), NOTHING)
    none = SpotSet((20, 20), np.empty((0, 2)), np.empty((0, 2)), np.empty(0), NOTHING)
    scores = detection_scores([one, two, none], 2.0)
    assert (scores["recall"], scores["precision"]) == (2 / 4, 2 / 3)
    assert scores["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
    assert scores["mean_error_px"] == 0.5 and scores["rmse_px"] == pytest.approx(0.5**0.5)
    assert scores["counting_mae"] == 1.0 and scores["counting_bias"] == pytest.approx(-1 / 3)
    assert scores["counting_rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert detection_scores([none], 2.0)["f1"] is None
    assert detection_scores([], 2.0)["counting_mae"] is None


def test_found_points_in_ignored_boxes_count_only_where_they_are_right() -> None:
    box = np.array([[[0.0, 0.0], [8.0, 8.0]]])
    found = np.array([[5.0, 5], [2, 2], [12, 12]])
    one = SpotSet((20, 20), np.array([[5.0, 5]]), found, np.array([0.9, 0.8, 0.7]), box)
    scores = detection_scores([one], 2.0)
    assert (scores["found"], scores["precision"], scores["counting_bias"]) == (2, 0.5, 1.0)
    assert average_precision([one], 2.0) == 1.0


def slow_average_precision(images: list[SpotSet], tolerance: float) -> float:
    """Goes through all found points by their score; each takes the nearest true one left."""
    every = sorted(
        ((score, i, k) for i, one in enumerate(images) for k, score in enumerate(one.scores)),
        key=lambda entry: -entry[0],
    )
    left = [list(range(len(one.truth))) for one in images]
    total, hits, steps = sum(map(len, left)), 0, []
    for count, (_, i, k) in enumerate(every, 1):
        near = [(np.linalg.norm(images[i].truth[t] - images[i].found[k]), t) for t in left[i]]
        if near and min(near)[0] <= tolerance:
            left[i].remove(min(near)[1])
            hits += 1
        steps.append((hits / total, hits / count))
    return (
        sum(
            max((p for r, p in steps if r >= level / 100 - 1e-12), default=0.0)
            for level in range(101)
        )
        / 101
    )


def scattered(rng: np.random.Generator) -> list[SpotSet]:
    images = []
    for _ in range(4):
        truth, found = crowd(rng, 7)
        images.append(SpotSet((7, 7), truth, found, rng.random(len(found)), NOTHING))
    return images


def test_average_precision_is_that_of_a_loop() -> None:
    rng, partial = np.random.default_rng(0), 0
    for _ in range(60):
        images = scattered(rng)
        if any(len(one.truth) for one in images):
            found = average_precision(images, 1.5)
            assert found == pytest.approx(slow_average_precision(images, 1.5), abs=1e-9)
            partial += 0 < found < 1
    assert partial > 40
    assert average_precision([], 1.5) is None


def test_the_threshold_is_the_best_of_all() -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        images = scattered(rng)
        chosen = best_score(images, 1.5)
        scores = np.concatenate([one.scores for one in images])
        if chosen is None:
            continue
        at = [detection_scores([one.above(t) for one in images], 1.5)["f1"] or 0.0 for t in scores]
        best = detection_scores([one.above(chosen) for one in images], 1.5)["f1"] or 0.0
        count = sum(len(one.truth) for one in images)
        missing = (count * (1 - max(at)) + 1) / (count + 2)
        assert best >= max(at) - math.sqrt(missing * (1 - missing) / count) - 1e-12


def test_one_hard_point_does_not_say_the_threshold() -> None:
    """Of 200 points one has a score of 0.01, the others 0.9, and false ones 0.001."""
    places = np.arange(0.0, 4000.0, 10)[:, None]
    scores = np.where(np.arange(400) % 2, 0.001, 0.9)
    scores[0] = 0.01
    spots = SpotSet((4000,), places[::2], places, scores, np.empty((0, 2, 1)))
    chosen = best_score([spots], 2.0)
    assert 0.02 < chosen < 0.9
    easy = best_score([replace(spots, scores=np.where(scores < 0.5, scores, 0.4))], 2.0)
    assert 0.01 < easy < 0.4


def test_bands_from_the_border_hold_every_point_once() -> None:
    rng = np.random.default_rng(2)
    images = scattered(rng)
    bands, whole = detections_by_border(images, 1.5), detection_scores(images, 1.5)
    assert sum(band["count"] for band in bands) == whole["labelled"]
    assert sum(band["counting_bias"] for band in bands) == pytest.approx(whole["counting_bias"])
    assert bands[0]["from_share"] == 0.0 and bands[-1]["to_share"] == 1.0
    edge = SpotSet((21, 21), np.array([[0.0, 10.0]]), np.array([[0.0, 10.0]]), np.ones(1), NOTHING)
    assert [band["count"] for band in detections_by_border([edge], 1.5)] == [1, 0, 0, 0, 0]


def slow_near_ends(images: list[SpotSet], tolerance: float, reach: float) -> dict[str, int]:
    """Goes through the spots near the border one by one."""
    counts = dict.fromkeys(
        ("labelled", "found", "missed", "with_neighbour", "neighbour_found", "lost"), 0
    )
    for one in images:
        hits = {i for i, _ in match(one.truth, one.found, tolerance).tolist()}
        far = [
            min(min(x + 0.5, side - 0.5 - x) for x, side in zip(p, one.size[::-1], strict=True))
            for p in one.truth
        ]
        inner = [i for i, away in enumerate(far) if away > reach]
        for i, away in enumerate(far):
            if away > reach:
                continue
            counts["labelled"] += 1
            counts["found" if i in hits else "missed"] += 1
            if inner:
                near = min(inner, key=lambda j: np.linalg.norm(one.truth[i] - one.truth[j]))
                counts["with_neighbour"] += 1
                counts["neighbour_found"] += near in hits
                counts["lost"] += near in hits and i not in hits
    return counts


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_what_is_lost_to_the_ends_is_what_a_loop_counts(axes: int) -> None:
    rng, several = np.random.default_rng(axes), 0
    for _ in range(60):
        images = []
        for _ in range(3):
            truth, found = rng.uniform(0, 20, (9, axes)), rng.uniform(0, 20, (4, axes))
            found = np.concatenate([found, truth[rng.random(9) < 0.6] + 0.1])
            ignored = np.empty((0, 2, axes))
            images.append(SpotSet((21,) * axes, truth, found, np.ones(len(found)), ignored))
        near = detections_near_ends(images, 1.0, 3.0)
        assert near == slow_near_ends(images, 1.0, 3.0)
        several += near["lost"] > 0 and near["found"] > 0
    assert several > 30
    nothing = dict.fromkeys(near, 0)
    assert detections_near_ends([], 1.0, 3.0) == nothing
