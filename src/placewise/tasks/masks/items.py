"""Masks of test images, class by class: what a comparison of models is made on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from placewise.augment import Chain, Homography, warp_labels
from placewise.geometry import FloatArray, ratio_of
from placewise.items import SAME, Change, Items
from placewise.labels import MaskDataset, MaskSample
from placewise.tasks._label_maps import rescaling
from placewise.tasks.masks.model import MaskModel
from placewise.tasks.masks.overlap import dices


class MaskItems(Items):
    """Dice of each class on each image that shows it, at the network's scale.

    Args:
        model: the trained model.
        dataset: reads images and masks.
        samples: whose.
    """

    def __init__(
        self, model: MaskModel, dataset: MaskDataset, samples: Sequence[MaskSample]
    ) -> None:
        self.model, self.classes = model, len(dataset.names)
        spacing = dataset.images.spacing
        self.shown = [model.prepared(dataset.image(s.image), spacing(s.image)) for s in samples]
        self.truths = [
            _at(dataset.mask(sample), shown.shape[:-1])
            for sample, shown in zip(samples, self.shown, strict=True)
        ]
        there = [
            (i, k)
            for i, t in enumerate(self.truths)
            for k in range(self.classes)
            if (t == k + 1).any()
        ]
        self.places = np.array(there, np.int64).reshape(-1, 2)
        self.names = [f"{samples[i].image}#{dataset.names[k]}" for i, k in there]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Items.score`; the truth moves as the change says."""
        found = []
        for shown, truth in zip(self.shown, self.truths, strict=True):
            image = change.image(shown)
            size = image.shape[:-1]
            (one,) = self.model.predict_scaled(image[None], [size])
            found.append(dices(_moved(truth, change.moved, size), one.mask, self.classes))
        table = np.array(found).reshape(len(self.shown), self.classes)
        return np.asarray(table[self.places[:, 0], self.places[:, 1]])


def _at(mask: Any, size: tuple[int, ...]) -> Any:
    """A mask at the size that the network sees."""
    if mask.shape == size:
        return mask
    small = rescaling(mask.shape, ratio_of(mask.shape, size))
    return warp_labels(mask, Chain(small, Homography(np.eye(mask.ndim + 1), size)))


def _moved(truth: Any, by: Sequence[float], size: tuple[int, ...]) -> Any:
    """A mask on an image whose content was moved; what comes in is ignored."""
    matrix = np.eye(truth.ndim + 1)
    matrix[: len(by), -1] = by
    return warp_labels(truth, Homography(matrix, size))
