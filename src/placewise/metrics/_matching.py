"""Many points of a kind: which found one is which true one, and scores of that.

All counts are pooled over images: precision = TP / (TP + FP), recall = TP / (TP + FN) and
F1 = 2 TP / (2 TP + FP + FN). An image without a true and without a found point adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray, Size, border_distance
from placewise.metrics._distances import BORDER_EDGES

THRESHOLDS = 64
"""Thresholds that are tried at most where one is chosen."""

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which the precision is taken for the average precision."""

Index = NDArray[np.intp]


@dataclass(frozen=True)
class SpotSet:
    """True and found points of one kind on one image.

    Attributes:
        size: of the image.
        truth: (n, axes) of (x, y, …) in pixels.
        found: (m, axes).
        scores: (m,) how sure each found point is, 0 to 1.
        ignored: (regions, 2, axes) lowest and highest corners of boxes in which a found point that
            is no true one does not count.
    """

    size: Size
    truth: FloatArray
    found: FloatArray
    scores: FloatArray
    ignored: FloatArray

    def above(self, threshold: float) -> SpotSet:
        """Only the found points of at least this score."""
        sure = self.scores >= threshold
        return SpotSet(self.size, self.truth, self.found[sure], self.scores[sure], self.ignored)


@dataclass(frozen=True)
class Matched:
    """Which found point is which true one on an image.

    Attributes:
        pairs: (k, 2) numbers of a true point and of its found one.
        distance: (k,) pixels between them.
        missed: numbers of true points without a found one.
        false: numbers of found points without a true one, outside of ignored regions.
    """

    pairs: Index
    distance: FloatArray
    missed: Index
    false: Index


def match(truth: FloatArray, found: FloatArray, tolerance: float) -> Index:
    """Pairs of true and found points within a distance of each other: the assignment problem.

    Of all ways to pair each point at most once, one with the most pairs is taken, and of these one
    with the least Σ d². It is solved for each group of points that are linked by distances within
    the tolerance, with the cost d² where d is within it and c² · (n + 1) elsewhere, n the largest
    number of pairs: so a pair more always weighs more than all distances.

    Args:
        truth: (n, axes).
        found: (m, axes).
        tolerance: c, in the same unit; a pair may be exactly that far apart.

    Returns:
        (k, 2) numbers of a true and a found point, in the order of the true ones.

    Example:
        >>> match(np.array([[0.0], [4.0]]), np.array([[5.0], [3.0]]), 3.0).tolist()
        [[0, 1], [1, 0]]
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(truth) or not len(found):
        return np.empty((0, 2), np.intp)
    squares = ((truth[:, None] - found[None]) ** 2).sum(-1)
    near = squares <= tolerance**2
    rows, columns = np.nonzero(near)
    count = len(truth) + len(found)
    links = coo_array((np.ones(len(rows)), (rows, columns + len(truth))), (count, count))
    _, group = connected_components(links, directed=False)
    pairs = []
    for one in np.unique(group[rows]):
        mine = np.flatnonzero(group[: len(truth)] == one)
        theirs = np.flatnonzero(group[len(truth) :] == one)
        part, allowed = squares[np.ix_(mine, theirs)], near[np.ix_(mine, theirs)]
        far = max(tolerance**2, 1e-300) * (min(part.shape) + 1)
        i, j = linear_sum_assignment(np.where(allowed, part, far))
        kept = allowed[i, j]
        pairs.append(np.stack([mine[i[kept]], theirs[j[kept]]], -1))
    together = np.concatenate([np.empty((0, 2), np.intp), *pairs])
    return np.asarray(together[np.argsort(together[:, 0])])


def matched(spots: SpotSet, tolerance: float) -> Matched:
    """Pairs, missed and false points of an image; see `match`.

    Example:
        >>> none = np.empty((0, 2, 1))
        >>> one = SpotSet((9,), np.array([[1.0]]), np.array([[1.5], [7.0]]), np.ones(2), none)
        >>> found = matched(one, 1.0)
        >>> found.distance.tolist(), found.missed.tolist(), found.false.tolist()
        ([0.5], [], [1])
    """
    pairs = match(spots.truth, spots.found, tolerance)
    apart = spots.truth[pairs[:, 0]] - spots.found[pairs[:, 1]]
    missed = np.setdiff1d(np.arange(len(spots.truth)), pairs[:, 0])
    false = np.setdiff1d(np.arange(len(spots.found)), pairs[:, 1])
    false = false[~_in_boxes(spots.found[false], spots.ignored)]
    return Matched(pairs, np.linalg.norm(apart, axis=-1), missed, false)


def _in_boxes(points: FloatArray, boxes: FloatArray) -> NDArray[np.bool_]:
    """(n,) whether points are in any of the boxes (regions, 2, axes)."""
    at = points[:, None]
    return np.asarray(((at >= boxes[:, 0]) & (at <= boxes[:, 1])).all(-1).any(-1))


def detection_scores(images: Sequence[SpotSet], tolerance: float) -> dict[str, Any]:
    """Precision, recall, F1, localisation and counting errors, pooled over images.

    Args:
        images: found points are those that count, above their threshold.
        tolerance: in pixels.

    Returns:
        `f1`, `precision`, `recall` (None where nothing is divided), `labelled`, `found`, `matched`,
        `mean_error_px` and `rmse_px` of the matched, and the errors of the counts by image:
        `counting_mae`, `counting_bias` (above 0: too many) and `counting_rmse`.

    Example:
        >>> none = np.empty((0, 2, 1))
        >>> one = SpotSet((9,), np.array([[1.0]]), np.array([[1.5], [7.0]]), np.ones(2), none)
        >>> scores = detection_scores([one], 1.0)
        >>> scores["recall"], scores["precision"], scores["counting_bias"]
        (1.0, 0.5, 1.0)
    """
    results = [matched(one, tolerance) for one in images]
    hits, missed, false = (
        sum(len(getattr(one, what)) for one in results) for what in ("pairs", "missed", "false")
    )
    distance = np.concatenate([np.empty(0), *(one.distance for one in results)])
    counted = np.array([len(one.false) - len(one.missed) for one in results], dtype=float)
    return {
        **_shares(hits, false, missed),
        "labelled": hits + missed,
        "found": hits + false,
        "matched": hits,
        "mean_error_px": float(distance.mean()) if hits else None,
        "rmse_px": float(np.sqrt((distance**2).mean())) if hits else None,
        "counting_mae": float(np.abs(counted).mean()) if results else None,
        "counting_bias": float(counted.mean()) if results else None,
        "counting_rmse": float(np.sqrt((counted**2).mean())) if results else None,
    }


def _shares(hits: int, false: int, missed: int) -> dict[str, float | None]:
    return {
        "f1": 2 * hits / (2 * hits + false + missed) if hits + false + missed else None,
        "precision": hits / (hits + false) if hits + false else None,
        "recall": hits / (hits + missed) if hits + missed else None,
    }


def average_precision(images: Sequence[SpotSet], tolerance: float) -> float | None:
    """Mean over 101 recalls of the best precision at that recall or a higher one.

    All found points of all images are gone through by their score, the surest first, and each is
    right where a true point within the tolerance is left, of which it takes the nearest (Lin et
    al. 2014, with a distance for the overlap).

    Returns:
        0 to 1; None where no point is labelled.

    Example:
        >>> none = np.empty((0, 2, 1))
        >>> found = np.array([[1.5], [7.0]])
        >>> average_precision([SpotSet((9,), found[:1], found, np.array([0.9, 0.8]), none)], 1.0)
        1.0
    """
    total = sum(len(one.truth) for one in images)
    if not total:
        return None
    right = [_right(one, tolerance) for one in images]
    hit = np.concatenate([*right, np.empty(0)])
    scores = np.concatenate([*(one.scores for one in images), np.empty(0)])
    order = np.argsort(-scores, kind="stable")
    hit = hit[order][np.isfinite(hit[order])]
    hits = np.cumsum(hit)
    precision = hits / np.arange(1, len(hit) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / total, RECALLS - 1e-12)
    return float(np.where(at < len(best), np.append(best, 0.0)[at.clip(0, len(best))], 0).mean())


def _right(spots: SpotSet, tolerance: float) -> FloatArray:
    """(m,) 1 for a found point that is right, 0 for a false one, NaN for one that is ignored."""
    right = np.where(_in_boxes(spots.found, spots.ignored), np.nan, 0.0)
    if len(spots.truth):
        apart = np.linalg.norm(spots.found[:, None] - spots.truth, axis=-1)
        for number in np.argsort(-spots.scores, kind="stable"):
            nearest = int(apart[number].argmin())
            if apart[number, nearest] <= tolerance:
                right[number], apart[:, nearest] = 1.0, np.inf
    return right


def best_score(images: Sequence[SpotSet], tolerance: float) -> float | None:
    """The score from which on found points count: in the middle of those with a large F1.

    Scores that some found point has are tried, `THRESHOLDS` of them at most, spread evenly over
    their ranks. Many thresholds beside the one with the largest F1 are as good, as far as so few
    images can tell: those whose F1 is at most one standard error less, √(p (1 − p) / n) with
    p = (n (1 − F1) + 1) / (n + 2) of n labelled points. The middle of their range, in log-odds, is
    taken: the edge of the range would be the choice of a single point (the one-standard-error rule
    of Breiman et al., Classification and Regression Trees, 1984).

    Returns:
        None where no point is labelled or found.
    """
    scores = np.unique(np.concatenate([np.empty(0), *(one.scores for one in images)]))
    count = sum(len(one.truth) for one in images)
    if not len(scores) or not count:
        return None
    ranks = np.unique(np.linspace(0, len(scores) - 1, THRESHOLDS).round().astype(int))
    values = np.array([_f1([one.above(s) for one in images], tolerance) for s in scores[ranks]])
    missing = (count * (1 - values.max()) + 1) / (count + 2)
    alike = values >= values.max() - math.sqrt(missing * (1 - missing) / count)
    first, last = _run_about(alike, int(values.argmax()))
    below = scores[ranks[first] - 1] if ranks[first] else 0.0
    ends = np.array([(scores[ranks[first]] + below) / 2, scores[ranks[last]]]).clip(1e-9, 1 - 1e-9)
    middle = np.log(ends / (1 - ends)).mean()
    return float(1 / (1 + np.exp(-middle)))


def _run_about(there: NDArray[np.bool_], place: int) -> tuple[int, int]:
    """First and last place of the run of true values that holds a place."""
    gaps = np.flatnonzero(~there)
    first = gaps[gaps < place].max(initial=-1) + 1
    return int(first), int(gaps[gaps > place].min(initial=len(there)) - 1)


def _f1(images: Sequence[SpotSet], tolerance: float) -> float:
    results = [matched(one, tolerance) for one in images]
    hits = 2 * sum(len(one.pairs) for one in results)
    wrong = sum(len(one.missed) + len(one.false) for one in results)
    return hits / (hits + wrong) if hits + wrong else 0.0


def detections_by_border(
    images: Sequence[SpotSet], tolerance: float, edges: Sequence[float] = BORDER_EDGES
) -> list[dict[str, Any]]:
    """`detection_scores` in bands from the border of the image to its middle.

    A true point is in the band where it lies, also if it was found; a false one where it was
    found. A share is the distance to the nearest edge over half of the image's shorter side.

    Args:
        images: found points are those that count, above their threshold.
        tolerance: in pixels.
        edges: ascending shares; a band holds its lower edge, the last one its upper edge too.
    """
    parts = []
    for spots in images:
        one = matched(spots, tolerance)
        where = _band(spots.truth, spots.size, edges)
        parts.append((one, where, _band(spots.found, spots.size, edges)))
    bands = []
    for number, (low, high) in enumerate(pairwise(edges)):
        hit = [one.distance[where[one.pairs[:, 0]] == number] for one, where, _ in parts]
        missed = np.array([(where[one.missed] == number).sum() for one, where, _ in parts])
        false = np.array([(at[one.false] == number).sum() for one, _, at in parts])
        distance = np.concatenate([np.empty(0), *hit])
        off = (false - missed).astype(float)
        bands.append(
            {
                "from_share": float(low),
                "to_share": float(high),
                "count": int(len(distance) + missed.sum()),
                **_shares(len(distance), int(false.sum()), int(missed.sum())),
                "mean_error_px": float(distance.mean()) if len(distance) else None,
                "counting_mae": float(np.abs(off).mean()) if len(off) else None,
                "counting_bias": float(off.mean()) if len(off) else None,
            }
        )
    return bands


def detections_near_ends(
    images: Sequence[SpotSet], tolerance: float, reach: float
) -> dict[str, int]:
    """True points within a distance of the border, beside the nearest true points farther in.

    The nearest point farther in is what the same network finds of the same image without a border:
    a point near the border that is missed though that one is found is lost to the border.

    Args:
        images: found points are those that count, above their threshold; of one kind each.
        tolerance: in pixels.
        reach: pixels from the border.

    Returns:
        `labelled`, `found` and `missed` points near the border, how many of these have a point
        farther in (`with_neighbour`), of how many it is found (`neighbour_found`), and how many are
        missed though it is found (`lost`).

    Example:
        >>> none, truth = np.empty((0, 2, 1)), np.array([[1.0], [6.0], [18.0]])
        >>> one = SpotSet((20,), truth, truth[1:2], np.ones(1), none)
        >>> detections_near_ends([one], 1.0, 4.0)["lost"]
        2
    """
    found, inner = [np.empty(0, bool)], [np.empty(0)]
    for spots in images:
        hit = np.zeros(len(spots.truth), bool)
        hit[match(spots.truth, spots.found, tolerance)[:, 0]] = True
        near = border_distance(spots.truth, spots.size) <= reach
        apart = np.linalg.norm(spots.truth[near][:, None] - spots.truth[~near], axis=-1)
        found.append(hit[near])
        none = np.full(int(near.sum()), np.nan)
        inner.append(hit[~near][apart.argmin(1)].astype(float) if (~near).any() else none)
    own, other = np.concatenate(found), np.concatenate(inner)
    return {
        "labelled": len(own),
        "found": int(own.sum()),
        "missed": int((~own).sum()),
        "with_neighbour": int(np.isfinite(other).sum()),
        "neighbour_found": int((other == 1).sum()),
        "lost": int((~own & (other == 1)).sum()),
    }


def _band(points: FloatArray, size: Size, edges: Sequence[float]) -> Index:
    """(n,) number of the band in which each point lies."""
    if not len(points):
        return np.empty(0, np.intp)
    share = (2 * border_distance(points, size) / min(size)).clip(0, 1)
    return np.asarray(np.digitize(share, edges[1:-1]))
