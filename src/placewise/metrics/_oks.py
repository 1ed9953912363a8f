"""Scores of several objects on an image: OKS, average precision, keypoints in the wrong object.

COCO's keypoint evaluation (cocodataset.org/#keypoints-eval) with three choices where it leaves one:
σ is 0.05 for every keypoint unless given; the area of an object that has none in its labels is that
of the box about its labelled keypoints (see `object_areas`); a predicted object without a keypoint
is as far off there as can be.

What all functions share: `truth` is (T, K, axes) and `found` is (F, K, axes) of (x, y, …) in pixels
of one image, NaN where a keypoint is not labelled or not predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from placewise.geometry import FloatArray

OKS_SIGMA = 0.05
"""Spread of labels as a share of the object's size, where no other is given."""

OKS_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""OKS from which on a prediction counts as right; the mean over them is OKS-mAP."""

MOST_FOUND = 20
"""Predicted objects of an image that count, those with the highest scores."""

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which precision is looked up."""

THIN = 0.3
"""Sides of an object's box are at least this share of its longest side."""


@dataclass(frozen=True)
class PoseImage:
    """Labelled and predicted objects of one image.

    Attributes:
        truth: (T, K, axes) labelled objects.
        areas: (T,) px² of each.
        lengths: (T,) px of each.
        found: (F, K, axes) predicted objects.
        scores: (F,) of each.
    """

    truth: FloatArray
    areas: FloatArray
    lengths: FloatArray
    found: FloatArray
    scores: FloatArray

    def own(self, sigma: ArrayLike = OKS_SIGMA) -> NDArray[np.intp]:
        """(F,) which labelled object each predicted one is; see `assigned`."""
        return assigned(oks_matrix(self.found, self.truth, self.areas, sigma))


def object_lengths(truth: FloatArray, pair: tuple[int, int] | None = None) -> FloatArray:
    """(T,) diagonal in pixels of the box about each object's labelled keypoints; NaN if it is 0.

    Args:
        truth: (T, K, axes).
        pair: numbers of two keypoints whose distance is taken instead.

    Example:
        >>> object_lengths(np.array([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 1.0], [np.nan, np.nan]]]))
        array([ 5., nan])
    """
    if pair is not None:
        length = np.linalg.norm(truth[:, pair[0]] - truth[:, pair[1]], axis=-1)
    else:
        length = np.linalg.norm(_sides(truth), axis=-1)
    return np.where(length > 0, length, np.nan)


def object_areas(truth: FloatArray, areas: FloatArray | None = None) -> FloatArray:
    """(T,) area in px² of each object; NaN where neither labels nor keypoints say it.

    It is that of the labels; else that of the box about the labelled keypoints, of which no side
    counts as less than 0.3 of the longest: a tube that lies along the rows has an area too. In
    other than two dimensions it is the square of the geometric mean of the sides.

    Args:
        truth: (T, K, axes).
        areas: (T,) of the labels, NaN where they do not say; None: nowhere.

    Example:
        >>> object_areas(np.array([[[0.0, 0.0], [10.0, 0.0]], [[0.0, 0.0], [4.0, 5.0]]]))
        array([30., 20.])
    """
    sides = _sides(truth)
    sides = np.maximum(sides, THIN * sides.max(1, keepdims=True))
    box = sides.prod(1) ** (2 / truth.shape[2])
    box = np.where(box > 0, box, np.nan)
    return box if areas is None else np.where(areas > 0, areas, box)


def oks_matrix(
    found: FloatArray, truth: FloatArray, areas: FloatArray, sigma: ArrayLike = OKS_SIGMA
) -> FloatArray:
    """OKS of each predicted with each labelled object: mean of exp(−d² / (2 · area · (2σ)²)).

    The mean is over the labelled keypoints; a keypoint that is not predicted counts as 0.

    Args:
        found: (F, K, axes).
        truth: (T, K, axes).
        areas: (T,) px².
        sigma: one number, or (K,).

    Returns:
        (F, T) in 0..1; 0 where nothing of an object is labelled or its area is not known.

    Example:
        >>> truth = np.array([[[0.0, 0.0], [10.0, 0.0]]])
        >>> oks_matrix(truth + [1.0, 0.0], truth, np.array([100.0])).round(3)
        array([[0.607]])
    """
    apart = _squares(found, truth)
    scale = 2 * areas[:, None] * (2 * np.asarray(sigma, np.float64)) ** 2
    labelled = np.isfinite(truth).all(-1)
    near = np.nan_to_num(np.exp(-apart / scale)) * labelled
    mean: FloatArray = near.sum(-1) / labelled.sum(-1).clip(1)
    return mean


def assigned(similarity: FloatArray) -> NDArray[np.intp]:
    """Which labelled object each predicted one is: as similar as possible in all.

    Each is assigned once (the assignment problem); what is left over is another prediction of the
    object that it resembles most.

    Args:
        similarity: (F, T), e.g. `oks_matrix`.

    Returns:
        (F,) numbers of labelled objects; −1 for what resembles none.

    Example:
        >>> assigned(np.array([[0.9, 0.8], [0.7, 0.0], [0.0, 0.0]])).tolist()
        [1, 0, -1]
    """
    rows, columns = most_alike(similarity)
    best = similarity.argmax(1) if similarity.size else np.zeros(len(similarity), np.intp)
    some = similarity.max(1, initial=0) > 0
    own = np.where(some, best, -1)
    own[rows] = columns
    return own


def most_alike(similarity: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns that belong together: each at most once, and as similar as possible in all.

    Args:
        similarity: (F, T), 0 or more; what is 0 is never matched.

    Example:
        >>> most_alike(np.array([[0.9, 0.8], [0.7, 0.0]]))
        (array([0, 1]), array([1, 0]))
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(similarity, maximize=True)
    real = similarity[rows, columns] > 0
    return rows[real], columns[real]


def right_keypoints(
    found: FloatArray, truth: FloatArray, own: NDArray[np.intp], tolerances: FloatArray
) -> FloatArray:
    """(T, K): 1 where the object's own prediction is within tolerance, else 0; NaN: not labelled.

    Args:
        found: (F, K, axes).
        truth: (T, K, axes).
        own: (F,) what `assigned` gave; of several predictions of an object the first counts.
        tolerances: (T,) pixels.

    Example:
        >>> truth = np.array([[[0.0], [9.0]], [[20.0], [np.nan]]])
        >>> found = np.array([[[1.0], [5.0]]])
        >>> right_keypoints(found, truth, np.array([0]), np.array([2.0, 2.0])).tolist()
        [[1.0, 0.0], [0.0, nan]]
    """
    right = np.where(np.isfinite(truth).all(-1), 0.0, np.nan)
    near = _squares(found, truth) <= np.square(tolerances)[:, None]
    for one in range(len(truth)):
        mine = np.flatnonzero(own == one)
        if len(mine):
            right[one] += near[mine[0], one]
    return right


def in_wrong_object(
    found: FloatArray, truth: FloatArray, own: NDArray[np.intp], tolerances: FloatArray
) -> FloatArray:
    """(F, K): 1 for a keypoint at the same keypoint of another object and not at its own, else 0.

    At a keypoint is who lies within the tolerance of the object that it belongs to. NaN where
    nothing is predicted. The mean is the wrong-animal rate.

    Args:
        found: (F, K, axes).
        truth: (T, K, axes).
        own: (F,) what `assigned` gave.
        tolerances: (T,) pixels.

    Example:
        >>> truth = np.array([[[0.0], [9.0]], [[20.0], [29.0]]])
        >>> found = np.array([[[0.0], [29.0]]])
        >>> in_wrong_object(found, truth, np.array([0]), np.array([2.0, 2.0])).tolist()
        [[0.0, 1.0]]
    """
    near = _squares(found, truth) <= np.square(tolerances)[:, None]
    mine = own[:, None] == np.arange(len(truth))
    others = (near & ~mine[..., None]).any(1)
    there = (near & mine[..., None]).any(1)
    return np.where(np.isfinite(found).all(-1), (others & ~there).astype(float), np.nan)


def oks_map(images: Sequence[PoseImage], sigma: ArrayLike = OKS_SIGMA) -> dict[str, float | None]:
    """OKS-mAP: average precision over recall, averaged over ten thresholds of OKS.

    As COCO does it: predictions of an image, the best 20 of them, take in the order of their
    scores the free labelled object with the highest OKS, if that reaches the threshold; precision
    over all predictions by score is made to fall, looked up at 101 recalls, and averaged.

    Args:
        images: labelled and predicted objects; labelled objects without a keypoint are none.
        sigma: one number, or (K,).

    Returns:
        `oks_map`, and AP at OKS 0.50 and 0.75 as `ap_50`, `ap_75`; None where nothing is labelled.

    Example:
        >>> truth = np.array([[[0.0, 0.0], [10.0, 0.0]]])
        >>> one = PoseImage(truth, np.array([100.0]), np.array([10.0]), truth, np.array([0.9]))
        >>> oks_map([one])["oks_map"]
        1.0
    """
    total = sum(int(np.isfinite(one.truth).all(-1).any(-1).sum()) for one in images)
    if not total:
        return {"oks_map": None, "ap_50": None, "ap_75": None}
    ranked = [_ranked(one, sigma) for one in images]
    scores = np.concatenate([scores for scores, _ in ranked])
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([hits for _, hits in ranked], axis=1)[:, order]
    precisions = [_average_precision(hits, total) for hits in right]
    by = dict(zip(OKS_THRESHOLDS, precisions, strict=True))
    return {"oks_map": float(np.mean(precisions)), "ap_50": by[0.5], "ap_75": by[0.75]}


def _ranked(one: PoseImage, sigma: ArrayLike) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Scores of an image's predictions, the best first, and (thresholds, F) which are right."""
    order = np.argsort(-one.scores, kind="stable")[:MOST_FOUND]
    known = np.isfinite(one.truth).all(-1).any(-1)
    truth, areas = one.truth[known], one.areas[known]
    similarity = oks_matrix(one.found[order], truth, areas, sigma)
    right = np.zeros((len(OKS_THRESHOLDS), len(order)), bool)
    for at, threshold in enumerate(OKS_THRESHOLDS):
        free = np.ones(len(truth), bool)
        for row, values in enumerate(similarity):
            able = np.where(free, values, -1)
            best = len(able) - 1 - int(able[::-1].argmax()) if len(able) else -1
            if best >= 0 and able[best] >= threshold:
                right[at, row], free[best] = True, False
    return one.scores[order], right


def _average_precision(right: NDArray[np.bool_], total: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or above; 0 beyond the last."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(hits / total, RECALLS, side="left")
    return float(np.append(best, 0.0)[place].mean())


def _squares(found: FloatArray, truth: FloatArray) -> FloatArray:
    """(F, T, K) squared distances; infinite where a keypoint is not labelled or not predicted."""
    apart = ((found[:, None] - truth[None]) ** 2).sum(-1)
    return np.where(np.isnan(apart), np.inf, apart)


def _sides(truth: FloatArray) -> FloatArray:
    """(T, axes) sides in pixels of the box about each object's labelled keypoints."""
    known = np.isfinite(truth).all(-1, keepdims=True)
    low = np.where(known, truth, np.inf).min(1, initial=np.inf)
    high = np.where(known, truth, -np.inf).max(1, initial=-np.inf)
    return np.where(high > low, high - low, 0.0)


def keypoints_right(images: Sequence[PoseImage], share: float) -> float | None:
    """PCK: share of the labelled keypoints that the object's own prediction has within tolerance.

    Args:
        images: labelled and predicted objects.
        share: of an object's length that is tolerated.

    Example:
        >>> truth = np.array([[[0.0, 0.0], [10.0, 0.0]]])
        >>> one = PoseImage(truth, np.array([100.0]), np.array([10.0]), truth, np.array([0.9]))
        >>> keypoints_right([one], 0.05)
        1.0
    """
    return _mean([right_keypoints(o.found, o.truth, o.own(), share * o.lengths) for o in images])


def wrong_animal_rate(images: Sequence[PoseImage], share: float) -> float | None:
    """Share of the predicted keypoints that lie at the same keypoint of another object.

    Args:
        images: labelled and predicted objects.
        share: of an object's length that is tolerated; see `in_wrong_object`.

    Example:
        >>> truth = np.array([[[0.0, 0.0], [10.0, 0.0]]])
        >>> one = PoseImage(truth, np.array([100.0]), np.array([10.0]), truth, np.array([0.9]))
        >>> wrong_animal_rate([one], 0.05)
        0.0
    """
    return _mean([in_wrong_object(o.found, o.truth, o.own(), share * o.lengths) for o in images])


def _mean(parts: Sequence[FloatArray]) -> float | None:
    values = np.concatenate([np.empty(0), *(part.ravel() for part in parts)])
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
