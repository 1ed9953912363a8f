"""Dice of masks of several classes at once: what validates and what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from placewise.geometry import FloatArray


def dices(truth: Any, mask: Any, classes: int) -> FloatArray:
    """(classes,) Dice of each class; NaN where it is in neither.

    Args:
        truth: (*size,) 0 background, k a class, −1 ignored.
        mask: (*size,) the same without what is ignored.
        classes: number of classes.

    Example:
        >>> dices(np.array([1, 1, 0, -1]), np.array([1, 0, 0, 1]), 2).round(3).tolist()
        [0.667, nan]
    """
    counts = overlaps(truth, mask, classes)
    sums = counts[1] + counts[2]
    return np.where(sums > 0, 2 * counts[0] / np.maximum(sums, 1), np.nan)


def overlaps(truth: Any, mask: Any, classes: int) -> FloatArray:
    """(3, classes) pixels of each class in both, in the truth, and in the mask."""
    known = truth >= 0
    true, seen = truth[known].astype(np.int64), mask[known].astype(np.int64)
    counts = [np.bincount(v, minlength=classes + 1) for v in (true[true == seen], true, seen)]
    return np.stack(counts)[:, 1:].astype(np.float64)


def pooled_dice(truths: Sequence[Any], masks: Sequence[Any], classes: int) -> float | None:
    """Mean over the classes of Dice over all pixels together; None where no class is anywhere."""
    both, true, seen = sum(
        (overlaps(t, m, classes) for t, m in zip(truths, masks, strict=True)),
        np.zeros((3, classes)),
    )
    there = true + seen > 0
    return float((2 * both[there] / (true + seen)[there]).mean()) if there.any() else None
