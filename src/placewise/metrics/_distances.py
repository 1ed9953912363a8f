"""Scores of distances: how far from the truth the keypoints are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from placewise.errors import SettingsError
from placewise.geometry import FloatArray, border_distance

BORDER_EDGES = (0.0, 0.05, 0.1, 0.2, 0.4, 1.0)
"""Edges of the bands of `by_border_distance`, as shares of half the shorter side."""


def errors(predicted: FloatArray, truth: FloatArray) -> FloatArray:
    """Euclidean distance ‖p − t‖ in pixels.

    Args:
        predicted: (..., axes) points.
        truth: (..., axes) points, NaN where not located.

    Returns:
        (...) pixels, NaN where the truth is not located.

    Raises:
        SettingsError: the shapes differ, or a located point has no prediction. To leave such a
            point out would flatter: what is hardest would not count.

    Example:
        >>> errors(np.array([[3.0, 4.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [np.nan, np.nan]]))
        array([ 5., nan])
    """
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape or not 1 <= predicted.shape[-1] <= 3:
        raise SettingsError(
            f"predicted points have the shape {predicted.shape} and true ones {truth.shape}; "
            "both must be the same and end with 1, 2 or 3 coordinates; match the images and "
            "points of the two"
        )
    known = np.asarray(np.isfinite(truth).all(-1))
    missing = np.argwhere(known & ~np.isfinite(predicted).all(-1))
    if len(missing):
        raise SettingsError(
            f"{len(missing)} located points have no finite prediction, the first at index "
            f"{tuple(missing[0].tolist())}; every located point needs an answer: look for NaN "
            "in the network's output"
        )
    apart = np.where(known[..., None], predicted - truth, np.nan)
    return _length(apart)


def mean_error(errors: FloatArray) -> float | None:
    """Mean error; also called MRE, EPE, mean L2, and, wrongly, RMSE.

    Example:
        >>> mean_error(np.array([3.0, 5.0, np.nan]))
        4.0
    """
    return _of_known(errors, np.mean)


def median_error(errors: FloatArray) -> float | None:
    """Median error.

    Example:
        >>> median_error(np.array([1.0, 2.0, 9.0]))
        2.0
    """
    return _of_known(errors, np.median)


def p95_error(errors: FloatArray) -> float | None:
    """95th percentile of the errors, interpolated linearly between the two nearest ranks.

    Example:
        >>> p95_error(np.arange(101.0))
        95.0
    """
    return _of_known(errors, lambda known: np.percentile(known, 95))


def rmse(errors: FloatArray) -> float | None:
    """Root of the mean squared error, √mean‖p − t‖²: the true one, never below the mean error.

    Example:
        >>> rmse(np.array([1.0, 7.0]))
        5.0
    """
    return _of_known(errors, lambda known: np.sqrt(np.mean(np.square(known))))


def diagonals(sizes: NDArray[Any]) -> FloatArray:
    """(N,) diagonals in pixels of images with (N, axes) sizes.

    Example:
        >>> diagonals(np.array([[3, 4]]))
        array([5.])
    """
    return _length(np.asarray(sizes, np.float64))


def pair_distances(truth: FloatArray, first: int, second: int) -> FloatArray:
    """(N,) distance in pixels between two of the true points; NaN where one is not located.

    Example:
        >>> pair_distances(np.array([[[0.0, 0.0], [3.0, 4.0]]]), 0, 1)
        array([5.])
    """
    return np.asarray(np.linalg.norm(truth[:, first] - truth[:, second], axis=-1))


def pck(errors: FloatArray, norms: FloatArray, thresholds: Sequence[float]) -> list[float | None]:
    """Percentage of correct keypoints, as shares 0..1: how many errors are ≤ threshold · norm.

    Yang & Ramanan 2013 (TPAMI 35:12), with a norm of your choice.

    Args:
        errors: (N, K).
        norms: (N,) pixels; images whose norm is NaN or 0 are left out.
        thresholds: shares of the norm.

    Example:
        >>> pck(np.array([[1.0, 3.0]]), np.array([20.0]), [0.05, 0.2])
        [0.5, 1.0]
    """
    unit = np.where(norms > 0, norms, np.nan)[:, None]
    relative = (errors / unit)[np.isfinite(errors / unit)]
    return [mean_error((relative <= threshold).astype(float)) for threshold in thresholds]


def label_areas(truth: FloatArray) -> FloatArray:
    """(N,) area in px² of the upright box about each image's located points; NaN if it is 0.

    Of signals and volumes it is the square of the side of a cube that is as large as the box.

    Example:
        >>> label_areas(np.array([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 1.0], [np.nan, np.nan]]]))
        array([12., nan])
    """
    known = np.isfinite(truth).all(-1, keepdims=True)
    low = np.where(known, truth, np.inf).min(1, initial=np.inf)
    high = np.where(known, truth, -np.inf).max(1, initial=-np.inf)
    area = np.where(high > low, high - low, 0).prod(-1)
    area = np.where(area > 0, area, np.nan)
    return area if truth.shape[-1] == 2 else area ** (2 / truth.shape[-1])


def oks(errors: FloatArray, areas: FloatArray, sigma: ArrayLike = 0.1) -> FloatArray:
    """Object keypoint similarity: mean over an image's points of exp(−d² / (2 s² (2σ)²)).

    As in the COCO keypoint evaluation, with s² the area of the object. COCO's σ are its
    annotators' spreads for 17 points of the body; for others σ = 0.1, as in DeepLabCut.

    Args:
        errors: (N, K).
        areas: (N,) px², of the labels' extent or of a box.
        sigma: share of s; one number or (K,).

    Returns:
        (N,) in 0..1; NaN where an image has no area or no located point.

    Example:
        >>> oks(np.array([[0.0, 2.0]]), np.array([100.0])).round(3)
        array([0.803])
    """
    scale = 2 * areas[:, None] * (2 * np.asarray(sigma, np.float64)) ** 2
    similarity = np.exp(-np.square(errors) / scale)
    known = np.isfinite(similarity)
    mean = np.where(known, similarity, 0).sum(1) / known.sum(1).clip(1)
    return np.where(known.any(1), mean, np.nan)


def by_point(names: Sequence[str], errors: FloatArray) -> list[dict[str, Any]]:
    """Count, mean, median and 95th percentile of each point's errors (N, K).

    Example:
        >>> by_point(["nose"], np.array([[1.0], [3.0]]))[0]["mean_error_px"]
        2.0
    """
    return [
        {
            "point": name,
            "count": int(np.isfinite(column).sum()),
            "mean_error_px": mean_error(column),
            "median_error_px": median_error(column),
            "p95_error_px": p95_error(column),
        }
        for name, column in zip(names, errors.T, strict=True)
    ]


def by_border_distance(
    errors: FloatArray,
    truth: FloatArray,
    sizes: NDArray[Any],
    edges: Sequence[float] = BORDER_EDGES,
) -> list[dict[str, Any]]:
    """Mean error in bands from the border of the image to its middle.

    A point's share is its distance to the nearest edge over half of the image's shorter side:
    0 on the edge, 1 in the middle. A label outside of the image counts as on the edge.

    Args:
        errors: (N, K).
        truth: (N, K, axes).
        sizes: (N, axes).
        edges: ascending shares; a band holds its lower edge, the last one its upper edge too.

    Returns:
        For each band from_share, to_share, count and mean_error_px (None if empty).

    Example:
        >>> truth = np.array([[[0.0, 5.0], [5.0, 5.0]]])
        >>> bands = by_border_distance(np.array([[2.0, 1.0]]), truth, np.array([[11, 11]]))
        >>> [(band["from_share"], band["mean_error_px"]) for band in bands if band["count"]]
        [(0.05, 2.0), (0.4, 1.0)]
    """
    shares = np.full(errors.shape, np.nan)
    for row, (points, size) in enumerate(zip(truth, sizes, strict=True)):
        distance = border_distance(points, tuple(int(side) for side in size))
        shares[row] = (2 * distance / min(size)).clip(0, 1)
    band = np.digitize(shares, edges[1:-1])
    bands = []
    for number, (low, high) in enumerate(pairwise(edges)):
        found = errors[np.isfinite(errors) & (band == number)]
        bands.append(
            {
                "from_share": float(low),
                "to_share": float(high),
                "count": len(found),
                "mean_error_px": mean_error(found),
            }
        )
    return bands


def mean_position_baseline(
    train: FloatArray, train_sizes: NDArray[Any], test: FloatArray, test_sizes: NDArray[Any]
) -> float | None:
    """Mean error in pixels of always answering each point's mean place on the training images.

    Places are averaged as shares of the image, (p + ½) / size, so that sizes may differ. A point
    that is nowhere located in training is answered with the middle of the image.

    Args:
        train: (N, K, axes) points, NaN where not located.
        train_sizes: (N, axes).
        test: (M, K, axes) points, NaN where not located.
        test_sizes: (M, axes).

    Example:
        >>> train, test = np.array([[[1.0, 1.0]], [[3.0, 1.0]]]), np.array([[[2.0, 4.0]]])
        >>> sizes = np.array([[10, 10], [10, 10]])
        >>> mean_position_baseline(train, sizes, test, sizes[:1])
        3.0
    """
    across = np.asarray(train_sizes, np.float64)[:, None, ::-1]
    known = np.isfinite(train).all(-1, keepdims=True)
    total = np.where(known, (train + 0.5) / across, 0).sum(0)
    share = np.where(known.any(0), total / known.sum(0).clip(1), 0.5)
    answers = share * np.asarray(test_sizes, np.float64)[:, None, ::-1] - 0.5
    return mean_error(errors(answers, test))


def _length(vectors: FloatArray) -> FloatArray:
    """(...) length of vectors (..., axes)."""
    if vectors.shape[-1] == 2:
        return np.asarray(np.hypot(vectors[..., 0], vectors[..., 1]))
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def _of_known(values: FloatArray, score: Callable[[FloatArray], Any]) -> float | None:
    """A score of the values that are not NaN, None if there are none."""
    known = values[~np.isnan(values)]
    return float(score(known)) if len(known) else None
