"""What a model of spots suggests as labels."""

from __future__ import annotations

import numpy as np

from placewise.labels import KeypointSample, Visibility
from placewise.task import Suggestion
from placewise.tasks.spots.prediction import SpotPrediction


def suggestion_of(one: SpotPrediction) -> Suggestion:
    """The spots that count as objects of one keypoint, the others as maxima.

    Args:
        one: the prediction.
    """
    spots, kinds = one.points, one.kinds
    shape = (max(1, len(spots)), len(one.names))
    points, scores = np.full((*shape, len(one.size)), np.nan), np.full(shape, np.nan)
    visibility = np.full(shape, Visibility.UNLABELLED, np.int8)
    rows = np.arange(len(spots))
    points[rows, kinds], scores[rows, kinds] = spots, one.scores
    visibility[rows, kinds] = Visibility.VISIBLE
    sample = KeypointSample("", one.size, points, visibility, scores=scores)
    hills = {n: one.candidates[one.candidate_kinds == k] for k, n in enumerate(one.names)}
    return Suggestion(sample, np.full(shape, np.nan), hills)
