"""Objects of test images, image by image: what a comparison of models is made on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from placewise.augment import Chain, Homography, warp_labels
from placewise.geometry import FloatArray, ratio_of
from placewise.items import SAME, Change, Items
from placewise.labels import InstanceDataset, InstanceSample
from placewise.metrics import image_ap
from placewise.tasks._label_maps import rescaling
from placewise.tasks.instances.model import InstanceModel
from placewise.tasks.instances.target import Labels


class InstanceItems(Items):
    """AP at an IoU of 0.5 of each image that shows an object, at the network's scale.

    Args:
        model: the trained model.
        dataset: reads images and labels.
        samples: whose.
    """

    def __init__(
        self, model: InstanceModel, dataset: InstanceDataset, samples: Sequence[InstanceSample]
    ) -> None:
        self.model = model
        self.shown, self.truths, self.names = [], [], []
        for sample in samples:
            labels, _ = dataset.instances(sample)
            if labels.max(initial=0) > 0:
                shown = model.prepared(*dataset.reading(sample.image))
                self.shown.append(shown)
                self.truths.append(_at(labels, shown.shape[:-1]))
                self.names.append(sample.image)

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Items.score`; the truth moves as the change says."""
        found = []
        for shown, truth in zip(self.shown, self.truths, strict=True):
            image = change.image(shown)
            size = image.shape[:-1]
            (one,) = self.model.predict_scaled(image[None], [size])
            found.append(image_ap(_moved(truth, change.moved, size), one.labels))
        return np.array(found)


def _at(labels: Labels, size: tuple[int, ...]) -> Labels:
    """Labels at the size that the network sees."""
    if labels.shape == size:
        return labels
    small = rescaling(labels.shape, ratio_of(labels.shape, size))
    whole = Chain(small, Homography(np.eye(labels.ndim + 1), size))
    return warp_labels(labels, whole).astype(np.int32)


def _moved(labels: Labels, by: Sequence[float], size: tuple[int, ...]) -> Any:
    """Labels of an image whose content was moved; what comes in is not known."""
    matrix = np.eye(labels.ndim + 1)
    matrix[:-1, -1] = by
    return warp_labels(labels, Homography(matrix, size))
