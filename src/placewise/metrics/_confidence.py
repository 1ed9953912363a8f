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


def conformal_factor(
    errors: FloatArray, uncertainty: FloatArray, level: float = 0.9
) -> float | None:
    """Factor q that makes radii q · uncertainty hold the truth with the probability `level`.

    Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018, §2.2 and 5.2) for points
    that come several to an image: q is the r-th smallest of n ratios error / uncertainty,

        r = ⌈level · n + ½ + (level − ½) · d⌉,

    where d is their `design_effect`. Of independent points d is 1, so that r = ⌈(n + 1) · level⌉,
    and a new point is covered with a probability of level to level + 1/(n + 1). Points of one image
    err together: n of them say as little as n/d independent ones, and the same rank would cover
    less. docs/decisions/0040-radius.md derives r.

    Args:
        errors: pixels, of shape (images,) or (images, points); NaN is left out.
        uncertainty: how far the model says it may be off, same shape, 0 or more. A ratio to 0 is
            infinite, unless the error is 0 too.
        level: probability, inside 0..1.

    Returns:
        q; None where no finite factor holds the level: r > n (with d = 1 and level 0.9: n < 9), or
        the r-th ratio is infinite.

    Raises:
        SettingsError: an uncertainty below 0 or NaN, or an impossible level.

    Example:
        >>> conformal_factor(np.arange(1.0, 11.0), np.full(10, 2.0), 0.8)
        4.5
        >>> conformal_factor(np.arange(1.0, 9.0), np.ones(8), 0.9) is None
        True
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
    ratios = np.where(off > 0, np.inf, 0.0)
    np.divide(off, stated, out=ratios, where=stated > 0)
    table = np.full(errors.shape, np.nan)
    table[known] = ratios
    n, effect = len(ratios), design_effect(table)
    rank = int(np.ceil(level * n + 0.5 + (level - 0.5) * effect - 1e-9))
    if not n or rank > n:
        return None
    factor = float(np.sort(ratios)[rank - 1])
    return factor if np.isfinite(factor) else None


def design_effect(values: FloatArray) -> float:
    """How many points of these images say as much as one independent point (Kish 1965).

    With z the ranks of all values about their mean, d = K / (K − 1) · Σ_i (Σ_j z_ij)² / Σ_ij z_ij²
    over K images i and their points j. Ranks, so that one value far off weighs no more than others.

    Args:
        values: (images,) or (images, points); NaN is left out.

    Returns:
        1 (independent) to Σ n_i² / Σ n_i of images with n_i values: the values of an image are all
        alike, which must be supposed where there is one image.

    Example:
        >>> design_effect(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
        2.0
        >>> design_effect(np.array([1.0, 2.0, 3.0]))
        1.0
    """
    known = ~np.isnan(values)
    found = np.sort(values[known])
    below, upto = (np.searchsorted(found, values[known], side) for side in ("left", "right"))
    ranks = np.zeros(values.shape)
    ranks[known] = below + upto - len(found)
    rows, counts = (x.reshape(len(values), -1).sum(1) for x in (ranks, known))
    images, total = int((counts > 0).sum()), float((ranks**2).sum())
    most = float((counts**2).sum() / max(1, counts.sum()))
    if images < 2 or not total:
        return max(1.0, most)
    found_effect = images / (images - 1) * float((rows**2).sum()) / total
    return float(np.clip(found_effect, 1.0, most))


def coverage(errors: FloatArray, radii: FloatArray) -> float | None:
    """Share of the errors that are at most the radius; a NaN radius covers nothing.

    Example:
        >>> coverage(np.array([1.0, 3.0, np.nan]), np.array([2.0, 2.0, 2.0]))
        0.5
    """
    known = ~np.isnan(errors)
    return float(np.mean(errors[known] <= radii[known])) if known.any() else None
