"""Groups of what looks alike: k-means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray

ROUNDS = 100
"""Rounds of Lloyd's iteration at most."""


@dataclass(frozen=True)
class Clusters:
    """Points in groups.

    Attributes:
        member: (N,) number of each point's group.
        distances: (N,) squared distance of each point from the middle of its group.
    """

    member: NDArray[np.int64]
    distances: FloatArray

    def nearest(self) -> list[int]:
        """The point nearest to the middle of each group, rising.

        Example:
            >>> k_means(np.array([[0.0], [1.0], [2.0], [9.0]]), 2, seed=0).nearest()
            [1, 3]
        """
        found = []
        for group in range(int(self.member.max()) + 1):
            inside = np.flatnonzero(self.member == group)
            found.append(int(inside[self.distances[inside].argmin()]))
        return sorted(found)


def k_means(points: FloatArray, count: int, *, seed: int) -> Clusters:
    """Points in groups about their means, so that the squared distances are small in all.

    Lloyd's iteration, begun as in k-means++ (Arthur and Vassilvitskii 2007): each first middle is a
    point, drawn by its squared distance from those before. No group is empty.

    Args:
        points: (N, D).
        count: groups; N where there are fewer points.
        seed: of the draws.

    Example:
        >>> k_means(np.array([[0.0], [0.1], [5.0]]), 2, seed=0).member.tolist()
        [0, 0, 1]
    """
    points = np.asarray(points, np.float64)
    count = min(count, len(points))
    middles = _begun(points, count, np.random.default_rng(seed))
    member = np.full(len(points), -1)
    for _ in range(ROUNDS):
        apart = _squares(points, middles)
        nearest = apart.argmin(1)
        _fill(nearest, apart[np.arange(len(points)), nearest], count)
        if (nearest == member).all():
            break
        member = nearest
        middles = np.stack([points[member == group].mean(0) for group in range(count)])
    order = np.unique(member, return_index=True)[1].argsort().argsort()
    distances = _squares(points, middles)[np.arange(len(points)), member]
    return Clusters(order[member], distances)


def _begun(points: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    chosen = [int(rng.integers(len(points)))]
    nearest = _squares(points, points[chosen])[:, 0]
    while len(chosen) < count:
        total = nearest.sum()
        left = np.setdiff1d(np.arange(len(points)), chosen)
        share = nearest[left] / total if total > 0 else np.full(len(left), 1 / len(left))
        chosen.append(int(rng.choice(left, p=share / share.sum())))
        nearest = np.minimum(nearest, _squares(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _fill(member: NDArray[np.int64], distances: FloatArray, count: int) -> None:
    """Give each empty group the point that is farthest from its own middle."""
    sizes = np.bincount(member, minlength=count)
    far = np.argsort(-distances, kind="stable").tolist()
    for group in np.flatnonzero(sizes == 0):
        point = next(point for point in far if sizes[member[point]] > 1)
        sizes[member[point]] -= 1
        member[point], sizes[group] = group, 1


def _squares(points: FloatArray, middles: FloatArray) -> FloatArray:
    """(N, count) squared distances."""
    apart = (points**2).sum(1)[:, None] - 2 * points @ middles.T + (middles**2).sum(1)
    near: FloatArray = apart.clip(0)
    return near
