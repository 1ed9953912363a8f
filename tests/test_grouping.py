"""Grouping against plain twins, and what must not change it."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from placewise.errors import ShapeError
from placewise.grouping import NOBODY, assign, vote

SIZES = [(40,), (11, 14), (5, 6, 7)]


def scene(rng, size, count):
    """Centres, offsets and mask of whole numbers and halves: distances are exact, ties happen."""
    axes = len(size)
    centres = rng.integers(0, 2 * np.array(size[::-1]), (count, axes)) / 2.0
    offsets = rng.integers(-6, 7, (axes, *size)) / 2.0
    return centres, offsets, rng.random(size) < 0.7


def plain_vote(centres, offsets, mask):
    """Pixel by pixel, centre by centre; ties go to the first centre in reading order."""
    labels = np.zeros(mask.shape, int)
    for pixel in np.ndindex(mask.shape):
        if not mask[pixel]:
            continue
        aim = np.array(pixel[::-1]) + offsets[(slice(None), *pixel)]
        keys = [(((aim - c) ** 2).sum(), *c[::-1], i) for i, c in enumerate(centres)]
        labels[pixel] = min(keys)[-1] + 1 if keys else 0
    return labels


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_vote_is_the_plain_one(size, count):
    rng = np.random.default_rng(count)
    given = scene(rng, size, count)
    found = vote(*given)
    assert found.dtype == np.int32
    assert (found == plain_vote(*given)).all()
    assert ((found > 0) == (given[2] & (count > 0))).all()


def test_many_ties_are_broken_in_parts(monkeypatch):
    monkeypatch.setattr("placewise.grouping.PART", 20)
    centres = np.array([[2.0, 2.0], [0.0, 2.0], [2.0, 0.0], [0.0, 0.0], [1.0, 5.0]])
    offsets = np.stack(np.broadcast_arrays(1.0 - np.arange(6.0), np.zeros((6, 6))))
    offsets[1] = 1.0 - np.arange(6.0)[:, None]
    assert (vote(centres, offsets, np.ones((6, 6), bool)) == 4).all(), "the first in reading order"


@pytest.mark.parametrize("size", SIZES)
def test_the_order_of_the_centres_changes_only_their_numbers(size):
    rng = np.random.default_rng(3)
    centres, offsets, mask = scene(rng, size, 8)
    centres = np.unique(centres, axis=0)
    order = rng.permutation(len(centres))
    numbers = np.concatenate([[0], np.argsort(order) + 1])
    assert (numbers[vote(centres, offsets, mask)] == vote(centres[order], offsets, mask)).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_vote_moves_with_a_flip_and_with_a_turn(axis):
    rng = np.random.default_rng(axis)
    size = (11, 14)
    centres, offsets = rng.random((6, 2)) * size[::-1], rng.normal(0, 3, (2, *size))
    mask = rng.random(size) < 0.7
    labels = vote(centres, offsets, mask)

    flipped, aims = centres.copy(), np.flip(offsets, 1 + axis).copy()
    flipped[:, 1 - axis] = size[axis] - 1 - flipped[:, 1 - axis]
    aims[1 - axis] *= -1
    assert (vote(flipped, aims, np.flip(mask, axis)) == np.flip(labels, axis)).all()

    turned = np.stack([centres[:, 1], size[1] - 1 - centres[:, 0]], -1)  # by np.rot90
    aims = np.stack([np.rot90(offsets[1]), -np.rot90(offsets[0])])
    assert (vote(turned, aims, np.rot90(mask)) == np.rot90(labels)).all()


def test_offsets_that_point_exactly_at_the_centres_give_the_objects_back():
    truth = np.zeros((20, 30), int)
    truth[2:9, 3:12], truth[2:9, 12:25], truth[10:18, 5:20] = 1, 2, 3
    places = np.argwhere(truth)[:, ::-1]
    centres = np.array([places[truth[truth > 0] == i].mean(0) for i in (1, 2, 3)])
    offsets = np.zeros((2, *truth.shape))
    offsets[:, truth > 0] = (centres[truth[truth > 0] - 1] - places).T
    assert (vote(centres, offsets, truth > 0) == truth).all()


@pytest.mark.parametrize(
    ("centres", "offsets", "mask"),
    [
        (np.zeros((3, 3)), np.zeros((2, 4, 5)), np.ones((4, 5), bool)),
        (np.zeros((3, 2)), np.zeros((2, 5, 4)), np.ones((4, 5), bool)),
        (np.zeros((3, 2)), np.full((2, 4, 5), np.nan), np.ones((4, 5), bool)),
    ],
)
def test_what_does_not_fit_is_refused(centres, offsets, mask):
    with pytest.raises(ShapeError):
        vote(centres, offsets, mask)


def plain_assign(places, points, kinds, reach):
    """(pairs, −Σd²) of the best of all assignments, kind by kind."""
    best = []
    for kind in range(places.shape[1]):
        own = [i for i, k in enumerate(kinds) if k == kind]
        scores = [(0, 0.0)]
        for count in range(1, min(len(places), len(own)) + 1):
            for objects in combinations(range(len(places)), count):
                for chosen in permutations(own, count):
                    off = [
                        np.linalg.norm(places[o, kind] - points[p])
                        for o, p in zip(objects, chosen, strict=True)
                    ]
                    fits = all(d <= reach[o, kind] for o, d in zip(objects, off, strict=True))
                    if fits:
                        scores.append((count, -sum(d**2 for d in off)))
        best.append(max(scores))
    return best


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_assign_is_the_best_of_all_assignments(axes, seed):
    rng = np.random.default_rng(seed)
    objects, count = rng.integers(0, 5), rng.integers(0, 9)
    places = rng.random((objects, 2, axes)) * 10
    places[rng.random((objects, 2)) < 0.2] = np.nan
    points, kinds = rng.random((count, axes)) * 10, rng.integers(0, 2, count)
    reach = rng.random((objects, 2)) * 8
    found = assign(places, points, kinds, reach)
    for kind, (pairs, cost) in enumerate(plain_assign(places, points, kinds, reach)):
        rows = np.flatnonzero(found[:, kind] != NOBODY)
        chosen = found[rows, kind]
        assert len(rows) == pairs and len(set(chosen)) == len(chosen)
        assert (kinds[chosen] == kind).all()
        off = places[rows, kind] - points[chosen]
        np.testing.assert_allclose(-(off**2).sum(), cost, atol=1e-9)
        assert (np.linalg.norm(off, axis=-1) <= reach[rows, kind]).all()


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_sure_keypoints_go_to_sure_objects(axes, seed):
    """The largest Σ s · p · (1 − d / reach) of all choices."""
    rng = np.random.default_rng(seed)
    places, points = rng.random((3, 1, axes)) * 6, rng.random((4, axes)) * 6
    sure, heat, reach = rng.random(3), rng.random(4), 5.0
    away = np.linalg.norm(places - points, axis=-1)
    gain = sure[:, None] * heat * (1 - away / reach)
    found = assign(places, points, np.zeros(4, int), reach, (sure, heat))[:, 0]
    best = max(
        sum(gain[o, p] for o, p in enumerate(chosen) if p is not None and gain[o, p] > 0)
        for chosen in permutations([*range(4), None, None, None], 3)
    )
    rows = np.flatnonzero(found != NOBODY)
    assert len(set(found[rows])) == len(rows) and (away[rows, found[rows]] <= reach).all()
    assert gain[rows, found[rows]].sum() == pytest.approx(best, abs=1e-12)


def test_assign_does_not_ask_in_which_order_things_are():
    rng = np.random.default_rng(5)
    places, points = rng.random((6, 3, 2)) * 20, rng.random((15, 2)) * 20
    kinds = rng.integers(0, 3, 15)
    found = assign(places, points, kinds, 9.0)
    rows, order = rng.permutation(6), rng.permutation(15)
    back = np.concatenate([order, [NOBODY]])
    assert (found != NOBODY).any() and (found == NOBODY).any()
    again = assign(places[rows], points[order], kinds[order], 9.0)
    assert (back[again] == found[rows]).all()


def test_assign_moves_with_a_flip_and_with_a_turn():
    rng = np.random.default_rng(6)
    places, points = rng.random((6, 3, 2)) * 20, rng.random((15, 2)) * 20
    kinds, reach = rng.integers(0, 3, 15), rng.random(6) * 9
    found = assign(places, points, kinds, reach)
    for matrix in ([[-1, 0], [0, 1]], [[0, -1], [1, 0]]):
        again = assign(places @ np.array(matrix), points @ np.array(matrix), kinds, reach)
        assert (again == found).all()


def test_as_many_pairs_as_possible_go_before_short_distances():
    """The nearest pair alone would leave the other object with nothing."""
    places = np.array([[[0.0]], [[2.0]]])
    found = assign(places, np.array([[1.9], [4.9]]), np.zeros(2, int), 3.0)
    assert found.tolist() == [[0], [1]]
    assert assign(places, np.array([[2.0]]), np.zeros(1, int), 0.0).tolist() == [[NOBODY], [0]]


def test_assign_refuses_what_does_not_fit():
    with pytest.raises(ShapeError, match="objects, kinds, axes"):
        assign(np.zeros((2, 3)), np.zeros((4, 2)), np.zeros(4, int), 1.0)
