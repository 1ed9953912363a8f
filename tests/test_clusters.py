"""k-means: groups that are there are found, and a slow twin has the same squares."""

from __future__ import annotations

import numpy as np

from placewise.clusters import k_means


def test_groups_that_are_there_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 200)
    points = 20.0 * np.eye(5)[truth] + rng.normal(size=(200, 5))
    found = k_means(points, 5, seed=1)
    assert len({(a, b) for a, b in zip(truth.tolist(), found.member.tolist(), strict=True)}) == 5
    middles = np.stack([points[found.member == group].mean(0) for group in range(5)])
    twin = ((points - middles[found.member]) ** 2).sum(1)
    assert np.allclose(found.distances, twin)
    nearest = found.nearest()
    assert sorted(truth[nearest].tolist()) == [0, 1, 2, 3, 4]


def test_no_group_is_empty_even_of_equal_points() -> None:
    for points in (np.zeros((6, 2)), np.repeat([[0.0], [1.0]], 5, 0)):
        found = k_means(points, 4, seed=0)
        assert len(np.unique(found.member)) == 4 and len(found.nearest()) == 4
    assert k_means(np.arange(3.0)[:, None], 9, seed=0).nearest() == [0, 1, 2]


def test_the_same_seed_gives_the_same_groups() -> None:
    points = np.random.default_rng(2).normal(size=(60, 3))
    assert (k_means(points, 7, seed=3).member == k_means(points, 7, seed=3).member).all()
