"""Keypoints of the objects of test images, one by one: what a comparison of models is made on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from placewise.geometry import FloatArray, inside, ratio_of
from placewise.items import SAME, Change, Items
from placewise.labels import KeypointSample, PoseDataset
from placewise.tasks.poses.prediction import PosePrediction

Measure = Callable[[PoseDataset, KeypointSample, PosePrediction], FloatArray]


class PoseItems(Items):
    """Whether each labelled keypoint is right: 1 or 0.

    Args:
        measure: (objects · keypoints,) values of an image, NaN where nothing is labelled.
        model: the trained model.
        dataset: reads the images.
        samples: whose.
    """

    def __init__(
        self, measure: Measure, model: Any, dataset: PoseDataset, samples: Sequence[KeypointSample]
    ) -> None:
        self.measure, self.model, self.dataset, self.samples = measure, model, dataset, samples
        self.shown = [model.prepared(dataset.image(sample.image)) for sample in samples]
        self.truth = [s.points[s.located.any(1)].reshape(-1, s.points.shape[2]) for s in samples]
        self.known = [np.asarray(np.isfinite(one).all(-1)) for one in self.truth]
        count = len(dataset.names)
        self.names = [
            f"{sample.image}#{i // count}.{dataset.names[i % count]}"
            for sample, known in zip(samples, self.known, strict=True)
            for i in np.flatnonzero(known)
        ]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Items.score`."""
        found = [np.empty(0)]
        for i, (sample, shown) in enumerate(zip(self.samples, self.shown, strict=True)):
            (one,) = self.model.predict_scaled(
                change.image(shown)[None], [sample.size], [sample.image]
            )
            moved = np.multiply(change.moved, ratio_of(shown.shape[:-1], sample.size))
            home = replace(one, places=one.places - moved)
            there = inside(self.truth[i] + moved, sample.size)
            values = self.measure(self.dataset, sample, home)
            found.append(np.where(there, values, np.nan)[self.known[i]])
        return np.concatenate(found)
