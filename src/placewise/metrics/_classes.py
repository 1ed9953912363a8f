"""Scores of classes: how often right, which for which, and whether probabilities are honest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.geometry import FloatArray

ClassNumbers = NDArray[np.int64]

CLASS_BINS = 15
"""Bins of equal width of the calibration error of classes, as in Guo et al. 2017."""

LEAST = 1e-12
"""Probabilities below this count as this in a log loss."""

COLDEST, HOTTEST = 1e-2, 1e2
"""Range of temperatures."""

HALVINGS = 60
"""Halvings of that range, in its logarithm: to the last bit."""


def class_table(
    names: Sequence[str], truth: ClassNumbers, probabilities: FloatArray
) -> dict[str, Any]:
    """All scores of answers on labelled images, as plain numbers that JSON can hold.

    Args:
        names: the K classes' names.
        truth: (N,) number of each image's class.
        probabilities: (N, K), rows sum to 1.

    Raises:
        SettingsError: the arrays do not belong together.

    Example:
        >>> found = class_table(["cat", "dog"], np.array([0, 1]), np.array([[.9, .1], [.6, .4]]))
        >>> found["accuracy"], found["confusion"]
        (0.5, [[1, 0], [1, 0]])
    """
    _check(names, truth, probabilities)
    answers = probabilities.argmax(1)
    counts = confusion(truth, answers, len(names))
    right = answers == truth
    sure = probabilities.max(1)
    return {
        "images": len(truth),
        "accuracy": float(right.mean()),
        "balanced_accuracy": _mean([row["recall"] for row in by_class(names, counts)]),
        "macro_f1": _mean([row["f1"] for row in by_class(names, counts)]),
        "majority_baseline": float(counts.sum(1).max() / len(truth)),
        "log_loss": log_loss(probabilities, truth),
        "brier": brier(probabilities, truth),
        "calibration_error": calibration_error(sure, right),
        "reliability": reliability(sure, right),
        "by_class": by_class(names, counts),
        "classes": list(names),
        "confusion": counts.tolist(),
    }


def confusion(truth: ClassNumbers, answers: ClassNumbers, count: int) -> NDArray[np.int64]:
    """(K, K) images of each class (row) by the answer that they got (column).

    Example:
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    flat = np.bincount(truth * count + answers, minlength=count * count)
    return flat.reshape(count, count).astype(np.int64)


def by_class(names: Sequence[str], counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Precision, recall and F₁ = 2PR / (P + R) of each class; None where there is nothing.

    Args:
        names: the K classes' names.
        counts: (K, K), what `confusion` gave.

    Example:
        >>> found = by_class(["cat", "dog"], np.array([[1, 1], [0, 2]]))[0]
        >>> found["class"], found["precision"], found["recall"]
        ('cat', 1.0, 0.5)
    """
    rows = []
    for k, name in enumerate(names):
        hits, there, said = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
        rows.append(
            {
                "class": name,
                "images": there,
                "answers": said,
                "precision": hits / said if said else None,
                "recall": hits / there if there else None,
                "f1": 2 * hits / (there + said) if there else None,
            }
        )
    return rows


def log_loss(probabilities: FloatArray, truth: ClassNumbers) -> float:
    """Mean of −log of the probability that the true class was given.

    Example:
        >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([0])), 4)
        0.6931
    """
    given = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(given, LEAST, 1.0)).mean())


def brier(probabilities: FloatArray, truth: ClassNumbers) -> float:
    """Mean over the images of Σₖ (pₖ − yₖ)², 0 to 2 (Brier 1950).

    Example:
        >>> brier(np.array([[0.5, 0.5]]), np.array([0]))
        0.5
    """
    off = probabilities.copy()
    off[np.arange(len(truth)), truth] -= 1
    return float(np.square(off).sum(1).mean())


def reliability(
    sure: FloatArray, right: NDArray[np.bool_], bins: int = CLASS_BINS
) -> list[dict[str, Any]]:
    """Answers by how sure they were: how many, how sure, and how many of them right.

    Args:
        sure: (N,) probability of each answer.
        right: (N,) whether it is right.
        bins: of equal width; bin b holds probabilities in (b / bins, (b + 1) / bins].

    Example:
        >>> reliability(np.array([0.9, 0.8]), np.array([True, False]), bins=1)
        [{'from': 0.0, 'to': 1.0, 'images': 2, 'confidence': 0.85..., 'accuracy': 0.5}]
    """
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    rows = []
    for b in range(bins):
        held = place == b
        count = int(held.sum())
        rows.append(
            {
                "from": b / bins,
                "to": (b + 1) / bins,
                "images": count,
                "confidence": float(sure[held].mean()) if count else None,
                "accuracy": float(right[held].mean()) if count else None,
            }
        )
    return rows


def calibration_error(sure: FloatArray, right: NDArray[np.bool_], bins: int = CLASS_BINS) -> float:
    """Expected calibration error: Σ_b n_b / N · |accuracy_b − confidence_b| (Naeini et al. 2015).

    Example:
        >>> round(calibration_error(np.array([0.9, 0.7]), np.array([True, True]), bins=1), 4)
        0.2
    """
    rows = [row for row in reliability(sure, right, bins) if row["images"]]
    off = sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in rows)
    return float(off / len(sure))


def temperature(logits: FloatArray, truth: ClassNumbers) -> float:
    """Number T by which to divide logits so that softmax(z / T) is honest (Guo et al. 2017).

    T minimises the cross-entropy with targets that stay a little below 1, (N + 1) / (N + K), and
    above 0, 1 / (N + K): as in Platt (1999), so that images which are all right do not make a
    network sure without bounds. In 1 / T this is convex, and its slope

        Σᵢ Σₖ (softmax(zᵢ / T)ₖ − tᵢₖ) · zᵢₖ

    changes its sign once.

    Args:
        logits: (N, K) of validation images.
        truth: (N,) number of each image's class.

    Example:
        >>> temperature(np.array([[4.0, 0.0], [4.0, 0.0]]), np.array([0, 1]))
        100.0
    """
    count, classes = logits.shape
    targets = np.full(logits.shape, 1 / (count + classes))
    targets[np.arange(count), truth] = (count + 1) / (count + classes)
    pull = (targets * logits).sum()
    low, high = np.log([1 / HOTTEST, 1 / COLDEST])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slope = (_softmax(logits * np.exp(middle)) * logits).sum() - pull
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(np.clip(np.exp(-(low + high) / 2), COLDEST, HOTTEST).round(6))


def _softmax(logits: FloatArray) -> FloatArray:
    raised: FloatArray = np.exp(logits - logits.max(1, keepdims=True))
    raised /= raised.sum(1, keepdims=True)
    return raised


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _check(names: Sequence[str], truth: ClassNumbers, probabilities: FloatArray) -> None:
    """Refuse arrays that do not belong together."""
    needed = (len(truth), len(names))
    if probabilities.shape != needed or not len(truth):
        raise SettingsError(
            f"got probabilities of shape {probabilities.shape} for {needed[0]} images and "
            f"{needed[1]} classes; needed is one row for each image and one column for each class"
        )
    if truth.min() < 0 or truth.max() >= len(names):
        raise SettingsError(
            f"classes reach from {truth.min()} to {truth.max()}; they must be 0 to {len(names) - 1}"
            ": leave images out whose class is not known"
        )
    if not (probabilities >= 0).all() or np.abs(probabilities.sum(1) - 1).max() > 1e-4:
        raise SettingsError(
            "some rows are no probabilities; each must be 0 or more and their sum 1: apply softmax"
        )
