"""How often the class is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from placewise.errors import DataError
from placewise.labels import ClassSample
from placewise.metrics import class_table
from placewise.report.run import kind_of
from placewise.task import Scored
from placewise.tasks.classes.prediction import ClassPrediction
from placewise.wording import share


def score(held: Scored[ClassSample, ClassPrediction]) -> dict[str, Any]:
    """Accuracy, confusion, precision and recall, log loss and calibration.

    Raises:
        DataError: no image has a class.
    """
    pairs = [
        (sample.label, one.probabilities)
        for sample, one in zip(held.samples, held.found, strict=True)
        if sample.label is not None
    ]
    if not pairs:
        raise DataError("none of these images has a class; label some")
    truth = np.array([label for label, _ in pairs], dtype=np.int64)
    scores = class_table(held.dataset.names, truth, np.stack([one for _, one in pairs]))
    scores["temperature"] = held.model.temperature
    return scores


def verdict(scores: Mapping[str, Any]) -> str:
    """The first sentence of a report: how often the prediction is correct."""
    return (
        f"{share(scores['accuracy'])} of {scores['images']:,} {kind_of(scores['split'])} "
        f"images are classified correctly (always predicting the most common class: "
        f"{share(scores['majority_baseline'])}).{_most_confused(scores)}"
    )


def _most_confused(scores: Mapping[str, Any]) -> str:
    """The most common mistake in a sentence; nothing where there is none."""
    counts = np.array(scores["confusion"])
    np.fill_diagonal(counts, 0)
    if not counts.any():
        return ""
    truth, answer = np.unravel_index(int(counts.argmax()), counts.shape)
    names, times = scores["classes"], int(counts.max())
    often = "once" if times == 1 else f"{times:,} times"
    return f" The most common mistake, {often}: a '{names[truth]}' predicted as '{names[answer]}'."
