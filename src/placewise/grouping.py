"""Grouping: which object a pixel or a keypoint belongs to, in 1, 2 and 3 dimensions.

Both functions compare places with places. A network says where the centres of objects are, and
then either where the centre of each pixel's object lies (`vote`), or where the keypoints of each
centre's object lie (`assign`). Nothing has to be set by hand but how far a keypoint may be from
its predicted place.

All places are (x, y, …) in pixels of one grid.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ShapeError
from placewise.geometry import FloatArray

Index = NDArray[np.intp]

NOBODY = -1
"""Stands for a keypoint that no object has."""

PART = 1 << 20
"""Distances that are computed together where several centres are equally near."""


def vote(
    centres: FloatArray, offsets: NDArray[np.floating], mask: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Give each foreground pixel to the centre that is nearest to where it points.

    label(p) = 1 + argmin_i ‖p + offset(p) − centre_i‖. Of several centres that are equally near,
    the first in reading order wins, whatever the order in which the centres are given.

    Args:
        centres: (n, axes) of (x, y, …) in pixels of the grid.
        offsets: (axes, *size) of (x, y, …): from each pixel to the centre of its object.
        mask: (*size) the foreground.

    Returns:
        (*size) the number of the pixel's centre, counted from 1; 0 in the background, and
        everywhere if there is no centre.

    Raises:
        ShapeError: the arrays do not fit together, or a number is NaN or infinite.

    Example:
        >>> centres = np.array([[0.0, 0.0], [4.0, 0.0]])
        >>> vote(centres, np.zeros((2, 1, 5)), np.ones((1, 5), bool))
        array([[1, 1, 1, 2, 2]], dtype=int32)
    """
    axes = mask.ndim
    if centres.ndim != 2 or centres.shape[1] != axes or offsets.shape != (axes, *mask.shape):
        raise ShapeError(
            f"got centres {centres.shape}, offsets {offsets.shape} and a mask {mask.shape}; a mask "
            f"of {axes} axes needs centres (n, {axes}) and offsets ({axes}, *size of the mask)"
        )
    labels = np.zeros(mask.shape, np.int32)
    if not len(centres) or not mask.any():
        return labels
    pixels = np.argwhere(mask)[:, ::-1].astype(np.float64)
    votes: FloatArray = pixels + offsets[:, mask].T
    order = np.lexsort(centres.T)
    labels[mask] = order[nearest(votes, centres[order])] + 1
    return labels


def nearest(points: FloatArray, centres: FloatArray) -> Index:
    """(m,) index of the nearest centre of each point; the first where several are as near.

    Args:
        points: (m, axes).
        centres: (n, axes), one at least.

    Raises:
        ShapeError: a number is NaN or infinite.
    """
    from scipy.spatial import cKDTree

    if not (np.isfinite(points).all() and np.isfinite(centres).all()):
        raise ShapeError(
            "centres or offsets are NaN or infinite; the network diverged: lower the learning rate"
        )
    if len(centres) == 1:
        return np.zeros(len(points), np.intp)
    distance, found = cKDTree(centres).query(points, 2)
    first: Index = found[:, 0].astype(np.intp)
    equal = np.flatnonzero(distance[:, 0] == distance[:, 1])
    step = max(1, PART // len(centres))
    for start in range(0, len(equal), step):
        part = equal[start : start + step]
        squares = ((points[part, None] - centres) ** 2).sum(-1)
        first[part] = squares.argmin(1)
    return first


def assign(
    places: FloatArray,
    points: FloatArray,
    kinds: NDArray[np.integer],
    reach: float | FloatArray,
    sure: tuple[FloatArray, FloatArray] | None = None,
) -> Index:
    """Give keypoints that were found to the objects that predict a keypoint near there.

    For each kind of keypoint alone: as many pairs as possible with d ≤ reach, and of all such
    choices the one with the smallest Σd². It is one assignment problem for each kind (Hungarian
    method); a keypoint belongs to one object at most, and an object has one of a kind at most.

    Args:
        places: (objects, kinds, axes) of (x, y, …) where each object predicts its keypoints, e.g.
            its centre plus an offset; NaN where it predicts none.
        points: (m, axes) keypoints that were found, of all kinds.
        kinds: (m,) the kind of each, from 0.
        reach: how far a keypoint may be from its predicted place, in pixels: one number, or
            (objects,), or (objects, kinds).
        sure: (objects,) and (m,): how sure each object and each keypoint is there, 0..1, where
            some may be none. Then the choice with the largest Σ s · p · (1 − d / reach) is taken:
            an object that is there loses no keypoint to one that hardly is, and takes a sure
            keypoint rather than a doubtful one that is a little nearer.

    Returns:
        (objects, kinds) index into `points`; −1 where the object gets no such keypoint.

    Raises:
        ShapeError: the arrays do not fit together.

    Example:
        >>> places = np.array([[[0.0, 0.0]], [[9.0, 0.0]]])
        >>> assign(places, np.array([[8.0, 0.0], [1.0, 1.0], [5.0, 5.0]]), np.zeros(3, int), 3.0)
        array([[1],
               [0]])
    """
    if places.ndim != 3 or points.shape != (len(kinds), places.shape[2]):
        raise ShapeError(
            f"got places {places.shape}, points {points.shape} and {len(kinds)} kinds; needed are "
            "(objects, kinds, axes), (m, axes) and (m,)"
        )
    limits = np.asarray(reach, np.float64)
    limits = limits[:, None] if limits.ndim == 1 else limits
    limits = np.broadcast_to(limits, places.shape[:2])
    found = np.full(places.shape[:2], NOBODY, np.intp)
    for kind in range(places.shape[1]):
        own = np.flatnonzero(kinds == kind)
        for some, near in _neighbours(places[:, kind], points[own], limits[:, kind]):
            squares = ((places[some, None, kind] - points[None, own[near]]) ** 2).sum(-1)
            most = limits[some, kind, None] ** 2
            if sure is None:
                rows, columns = _pairs(squares, squares <= most)
            else:
                share = 1 - np.sqrt(squares / np.maximum(most, 1e-12))
                rows, columns = _best(sure[0][some, None] * sure[1][own[near]] * share)
            found[some[rows], kind] = own[near[columns]]
    return found


def _neighbours(
    places: FloatArray, points: FloatArray, limits: FloatArray
) -> Iterator[tuple[Index, Index]]:
    """(objects, keypoints) that may be paired with each other, and with no others.

    They are assigned for themselves: what is chosen among them changes nothing elsewhere, and no
    table of all objects and all keypoints of a large image is needed.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    able, there = (np.flatnonzero(np.isfinite(one).all(1)) for one in (places, points))
    if not (len(able) and len(there)):
        return
    reach = limits[able] * (1 + 1e-9) + 1e-9
    near = cKDTree(points[there]).query_ball_point(places[able], reach)
    rows = np.repeat(able, [len(one) for one in near])
    columns = there[np.concatenate(near).astype(np.intp)] + len(places)
    count = len(places) + len(points)
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), (count, count))
    _, group = connected_components(links, directed=False)
    nodes = np.unique(np.concatenate([rows, columns]))
    nodes = nodes[np.argsort(group[nodes], kind="stable")]
    for part in np.split(nodes, np.flatnonzero(np.diff(group[nodes])) + 1):
        if len(part):
            yield part[part < len(places)], part[part >= len(places)] - len(places)


def _pairs(costs: FloatArray, allowed: NDArray[np.bool_]) -> tuple[Index, Index]:
    """(rows, columns): as many allowed pairs as possible, and of these the least sum of costs."""
    from scipy.optimize import linear_sum_assignment

    if not allowed.any():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    most = costs[allowed].max()
    refused = (most or 1.0) * (min(costs.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(allowed, costs, refused))
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def _best(gain: FloatArray) -> tuple[Index, Index]:
    """(rows, columns): pairs with the largest sum of gains, which are all above 0."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain.clip(0), maximize=True)
    kept = gain[rows, columns] > 0
    return rows[kept], columns[kept]
