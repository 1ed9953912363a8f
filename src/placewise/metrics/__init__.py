"""Scores: arrays in, numbers out.

Definitions with their sources, and what others mean by the same words, are in `docs/metrics.md`.

What all functions share:

- Points are (N, K, axes): N images, K points, (x, y, …) in pixels; sizes are (N, axes), in the
  order of an array's axes: (height, width).
- An error is NaN where the truth is not located; NaN errors are left out of every number.
- A number of nothing is None, never 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.metrics._classes import (
    CLASS_BINS,
    COLDEST,
    HOTTEST,
    brier,
    by_class,
    calibration_error,
    class_table,
    confusion,
    log_loss,
    reliability,
    temperature,
)
from placewise.metrics._confidence import (
    conformal_factor,
    coverage,
    design_effect,
    presence,
)
from placewise.metrics._distances import (
    BORDER_EDGES,
    by_border_distance,
    by_point,
    diagonals,
    errors,
    label_areas,
    mean_error,
    mean_position_baseline,
    median_error,
    oks,
    p95_error,
    pair_distances,
    pck,
    rmse,
)
from placewise.metrics._instances import (
    at_border,
    image_ap,
    instance_table,
    object_centres,
    overlap,
    touching_pairs,
)
from placewise.metrics._masks import (
    THIN,
    MaskCounts,
    best_threshold,
    boundary_f1,
    cldice,
    counted,
    dice,
    edge,
    hd95,
    iou,
    nsd,
    pieces,
    skeleton,
    surface_distances,
    thin_recall,
)
from placewise.metrics._matching import (
    Matched,
    SpotSet,
    average_precision,
    best_score,
    detection_scores,
    detections_by_border,
    detections_near_ends,
    match,
    matched,
)
from placewise.metrics._named import (
    ACCURACY,
    CLASS_METRICS,
    F1,
    KEYPOINT_METRICS,
    KEYPOINTS_RIGHT,
    MEAN_ERROR,
    POSE_METRICS,
    SPOT_METRICS,
    in_unit,
)
from placewise.metrics._oks import (
    OKS_SIGMA,
    OKS_THRESHOLDS,
    PoseImage,
    assigned,
    in_wrong_object,
    keypoints_right,
    most_alike,
    object_areas,
    object_lengths,
    oks_map,
    oks_matrix,
    right_keypoints,
    wrong_animal_rate,
)
from placewise.metrics._shapes import left_right_swaps, turns
from placewise.metrics._tracks import TrackedFrame, track_scores
from placewise.metrics.metric import Metric, Scores

__all__ = [
    "ACCURACY",
    "BORDER_EDGES",
    "CLASS_BINS",
    "CLASS_METRICS",
    "COLDEST",
    "F1",
    "HOTTEST",
    "KEYPOINTS_RIGHT",
    "KEYPOINT_METRICS",
    "MEAN_ERROR",
    "OKS_SIGMA",
    "OKS_THRESHOLDS",
    "PCK_THRESHOLDS",
    "POSE_METRICS",
    "SPOT_METRICS",
    "THIN",
    "MaskCounts",
    "Matched",
    "Metric",
    "PoseImage",
    "Scores",
    "SpotSet",
    "TrackedFrame",
    "assigned",
    "at_border",
    "average_precision",
    "best_score",
    "best_threshold",
    "boundary_f1",
    "brier",
    "by_border_distance",
    "by_class",
    "by_point",
    "calibration_error",
    "class_table",
    "cldice",
    "conformal_factor",
    "confusion",
    "counted",
    "coverage",
    "design_effect",
    "detection_scores",
    "detections_by_border",
    "detections_near_ends",
    "diagonals",
    "dice",
    "edge",
    "errors",
    "hd95",
    "image_ap",
    "in_unit",
    "in_wrong_object",
    "instance_table",
    "iou",
    "keypoints_right",
    "label_areas",
    "left_right_swaps",
    "log_loss",
    "match",
    "matched",
    "mean_error",
    "mean_position_baseline",
    "median_error",
    "most_alike",
    "nsd",
    "object_areas",
    "object_centres",
    "object_lengths",
    "oks",
    "oks_map",
    "oks_matrix",
    "overlap",
    "p95_error",
    "pair_distances",
    "pck",
    "pieces",
    "presence",
    "reliability",
    "right_keypoints",
    "rmse",
    "score_table",
    "skeleton",
    "surface_distances",
    "temperature",
    "thin_recall",
    "touching_pairs",
    "track_scores",
    "turns",
    "wrong_animal_rate",
]

UNLABELLED, HIDDEN = 0, 2
"""Values of `formats.Visibility`; from HIDDEN on a point is located."""

PCK_THRESHOLDS = (0.02, 0.05, 0.1)


def score_table(
    *,
    names: Sequence[str],
    sizes: NDArray[Any],
    truth: FloatArray,
    visibility: NDArray[np.int8],
    predicted: FloatArray,
    scores: FloatArray,
    radii: FloatArray,
    pck_pair: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """All scores of predictions on labelled images, as plain numbers that JSON can hold.

    Args:
        names: the K points' names.
        sizes: (N, axes), e.g. of (height, width).
        truth: (N, K, axes); anything where not located.
        visibility: (N, K) of `formats.Visibility`.
        predicted: (N, K, axes).
        scores: (N, K) probabilities that the point is on the image.
        radii: (N, K) pixels that should hold 90 % of truths; all NaN where not calibrated.
        pck_pair: two points whose distance is the unit of PCK; None: the image's diagonal.

    Raises:
        SettingsError: shapes do not match, a located point has no coordinates or no prediction, a
            score is no probability, or `pck_pair` names no points.

    Example:
        >>> one, keypoints = np.ones((1, 1)), np.array([[[2.0, 3.0]]])
        >>> table = score_table(names=["nose"], sizes=np.array([[9, 9]]), truth=keypoints,
        ...     visibility=np.array([[3]]), predicted=keypoints + 1, scores=one, radii=2 * one)
        >>> round(table["mean_error_px"], 3), table["radius"]
        (1.414, {'coverage_90': 1.0, 'mean_radius_90_px': 2.0})
    """
    located = visibility >= HIDDEN
    _check(names, sizes, truth, predicted, scores, radii, located)
    truth = np.where(located[..., None], truth, np.nan)
    off = errors(predicted, truth)
    norm, norms = _norm(names, sizes, truth, pck_pair)
    labelled = visibility != UNLABELLED
    calibrated = bool(np.isfinite(radii).any())
    return {
        "images": len(truth),
        "located": int(located.sum()),
        "mean_error_px": mean_error(off),
        "median_error_px": median_error(off),
        "p95_error_px": p95_error(off),
        "rmse_px": rmse(off),
        "pck": {
            "norm": norm,
            **dict(zip(map(str, PCK_THRESHOLDS), pck(off, norms, PCK_THRESHOLDS), strict=True)),
        },
        "oks": mean_error(oks(off, label_areas(truth))),
        "by_point": by_point(names, off),
        "by_border_distance": by_border_distance(off, truth, sizes),
        "presence": presence(scores[labelled], located[labelled]),
        "radius": {
            "coverage_90": coverage(off, radii) if calibrated else None,
            "mean_radius_90_px": mean_error(np.where(located, radii, np.nan)),
        },
    }


def _norm(
    names: Sequence[str], sizes: NDArray[Any], truth: FloatArray, pair: tuple[str, str] | None
) -> tuple[str, FloatArray]:
    """What PCK is relative to: its name and (N,) pixels."""
    if pair is None:
        return "diagonal", diagonals(sizes)
    unknown = [name for name in pair if name not in names]
    if unknown or pair[0] == pair[1]:
        raise SettingsError(
            f"the pair {pair[0]}, {pair[1]} cannot be the unit of PCK; "
            f"name two different points of: {', '.join(names)}"
        )
    first, second = (list(names).index(name) for name in pair)
    return f"{pair[0]} to {pair[1]}", pair_distances(truth, first, second)


def _check(
    names: Sequence[str],
    sizes: NDArray[Any],
    truth: FloatArray,
    predicted: FloatArray,
    scores: FloatArray,
    radii: FloatArray,
    located: NDArray[np.bool_],
) -> None:
    """Refuse arrays that do not belong together."""
    table = (len(sizes), len(names))
    got = {
        "truth": np.shape(truth),
        "predicted": np.shape(predicted),
        "visibility": located.shape,
        "scores": np.shape(scores),
        "radii": np.shape(radii),
    }
    axes = np.shape(sizes)[-1]
    need = {"truth": (*table, axes), "predicted": (*table, axes)}
    wrong = [f"{name} {shape}" for name, shape in got.items() if shape != need.get(name, table)]
    if wrong:
        raise SettingsError(
            f"{table[0]} sizes and {table[1]} names do not fit {', '.join(wrong)}; "
            "each needs one row for an image and one column for a point"
        )
    lost = np.argwhere(located & ~np.isfinite(truth).all(-1))
    if len(lost):
        row, column = lost[0].tolist()
        raise SettingsError(
            f"{len(lost)} points are said to be located and have no coordinates, the first on "
            f"image {row}: {names[column]}; give coordinates or another state"
        )
