"""Scores of confidence: is the point there, and how far off may its keypoint be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.geometry import FloatArray

BINS = 10
"""Bins of equal width of the calibration error."""


def presence(
    scores: FloatArray, present: NDArray[np.bool_], threshold: float = 0.5
) -> dict[str, Any]:
    """How well scores tell whether a point is on the image.

    Without a point that is labelled as absent, whoever always says "present" would be perfect; so
    all but recall are None then.

    Args:
        scores: (M,) probabilities of points that are labelled present or absent.
        present: (M,) whether they are.
        threshold: a score of this or more says "present".

    Returns:
        precision and recall of "present"; calibration_error: mean over 10 bins of equal width,
        weighted with their counts, of |mean score − share present| (Naeini et al. 2015); brier:
        mean (score − present)² (Brier 1950); the counts present and absent.

    Raises:
        SettingsError: a score is not in 0..1.

    Example:
        >>> presence(np.array([0.9, 0.8, 0.6]), np.array([True, True, False]))["recall"]
        1.0
    """
    if not ((scores >= 0) & (scores <= 1)).all():
        raise SettingsError(
            f"scores reach from {np.min(scores)} to {np.max(scores)}; they must be probabilities "
            "in 0..1: apply the head's sigmoid"
        )
    said = scores >= threshold
    hits, absent = int((said & present).sum()), int((~present).sum())
    gaps = scores - present
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    in_bins = np.bincount(bins, weights=gaps, minlength=BINS)
    return {
        "precision": hits / int(said.sum()) if absent and said.any() else None,
        "recall": hits / int(present.sum()) if present.any() else None,
        "calibration_error": float(np.abs(in_bins).sum() / len(scores)) if absent else None,
        "brier": float(np.mean(gaps**2)) if absent else None,
        "present": int(present.sum()),
        "absent": absent,
    }


def conformal_factor(errors: FloatArray, uncertainty: FloatArray, level: float = 0.9) -> float:
    """Factor q that makes radii q · uncertainty hold the truth with the probability `level`.

    Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018, §2.2 and 5.2): with n
    calibration errors, q is the ⌈(n+1)·level⌉-th smallest ratio error / uncertainty. If a new
    keypoint is exchangeable with these, it is covered with a probability of level to
    level + 1/(n+1).

    No finite q holds the level with too few points, n < level / (1 − level), or where an
    uncertainty of 0 makes it infinite. Then it is the largest finite ratio, which covers n / (n+1)
    of n points.

    Args:
        errors: pixels, any shape; NaN is left out.
        uncertainty: how far the model says it may be off, same shape, 0 or more.
        level: probability, inside 0..1.

    Raises:
        SettingsError: no error with a usable uncertainty, or an impossible level.

    Example:
        >>> conformal_factor(np.arange(1.0, 11.0), np.full(10, 2.0), 0.8)
        4.5
    """
    if not 0 < level < 1:
        raise SettingsError(f"level is {level}; it must be inside 0..1, e.g. 0.9")
    known = ~np.isnan(errors)
    off, stated = errors[known], uncertainty[known]
    if not (stated >= 0).all():
        raise SettingsError(
            f"the least uncertainty is {stated.min()}; it must be 0 or more: look for "
            "NaN in the network's output"
        )
    usable = (stated > 0) | (off == 0)
    if not usable.any():
        raise SettingsError(
            f"none of {len(off)} errors has an uncertainty above 0; radii need at least one: label "
            "keypoints on the validation images"
        )
    ratios = np.sort(off[usable] / np.where(stated > 0, stated, 1.0)[usable])
    rank = int(np.ceil((len(off) + 1) * level - 1e-9))
    return float(ratios[min(rank, len(ratios)) - 1])


def coverage(errors: FloatArray, radii: FloatArray) -> float | None:
    """Share of the errors that are at most the radius; a NaN radius covers nothing.

    Example:
        >>> coverage(np.array([1.0, 3.0, np.nan]), np.array([2.0, 2.0, 2.0]))
        0.5
    """
    known = ~np.isnan(errors)
    return float(np.mean(errors[known] <= radii[known])) if known.any() else None
