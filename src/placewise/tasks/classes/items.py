"""Classes of test images, one by one: what a comparison of models is made on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from placewise.augment import generator
from placewise.augment.deformation import DEFORMED, deform, smooth_field
from placewise.geometry import FloatArray
from placewise.items import SAME, Change, Items
from placewise.labels import ClassDataset, ClassSample
from placewise.tasks.classes.model import ClassModel

BATCH = 64
"""Images that are predicted at a time where they are of one size."""


class ClassItems(Items):
    """1 for each image whose class is right, else 0.

    Args:
        model: the trained model.
        dataset: reads the images.
        samples: whose; those without a class are left out.
    """

    def __init__(
        self, model: ClassModel, dataset: ClassDataset, samples: Sequence[ClassSample]
    ) -> None:
        self.model = model
        known = [(sample.image, sample.label) for sample in samples if sample.label is not None]
        self.names = [image for image, _ in known]
        self.truth = np.array([label for _, label in known], np.int64)
        self.shown = [model.prepared(*dataset.reading(image)) for image in self.names]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Items.score`."""
        right: FloatArray = (self.logits(change).argmax(1) == self.truth).astype(np.float64)
        return right

    def logits(self, change: Change = SAME) -> FloatArray:
        """(items, classes) float64, before the temperature."""
        changed = [change.image(image) for image in self.shown]
        found = []
        for start, stop in runs_of_one_size(changed, BATCH):
            found.append(self._logits(np.stack(changed[start:stop])))
        return np.concatenate(found)

    def _logits(self, images: NDArray[np.float32]) -> FloatArray:
        size = images.shape[1:-1]
        found = self.model.predict_scaled(images, [size] * len(images))
        return np.stack([one.logits for one in found])

    def deformation(self, seed: int) -> float | None:
        """R_f: how much a smooth deformation changes the logits, beside noise of the same size.

        R_f = E‖f(τx) − f(x)‖² / E‖f(x + η) − f(x)‖², where τ is drawn with the most entropy at a
        given
        size and η is white on a sphere whose radius is the mean of ‖τx − x‖ (Petrini et al. 2021,
        *Relative stability toward diffeomorphisms indicates performance in deep nets*). Small is
        stable: the better of two nets mostly has the smaller R_f. The first 256 of the images that
        have one size are taken.

        Args:
            seed: of τ and η.

        Returns:
            R_f; None where noise changes nothing, and of signals and volumes.
        """
        if self.axes != 2:
            return None
        first = self.shown[0].shape
        images = np.stack([p for p in self.shown if p.shape == first][:DEFORMED])
        rng = generator(seed, 0, "deformation")
        moved = np.stack([deform(image, smooth_field(rng, first[:-1])) for image in images])
        radius = float(np.mean([np.linalg.norm(m - p) for m, p in zip(moved, images, strict=True)]))
        noise = rng.normal(size=images.shape)
        norms = np.linalg.norm(noise.reshape(len(noise), -1), axis=1)
        noise *= radius / norms.reshape(-1, *[1] * (noise.ndim - 1))
        noisy = (images + noise).astype(np.float32)
        plain, by_tau, by_noise = (self._in_parts(batch) for batch in (images, moved, noisy))
        change = ((by_tau - plain) ** 2).sum(1).mean()
        beside = ((by_noise - plain) ** 2).sum(1).mean()
        return float(change / beside) if beside else None

    def _in_parts(self, images: NDArray[np.float32]) -> FloatArray:
        ends = [*range(0, len(images), BATCH), len(images)]
        return np.concatenate([self._logits(images[a:b]) for a, b in pairwise(ends)])


def runs_of_one_size(images: Sequence[NDArray[np.float32]], most: int) -> list[tuple[int, int]]:
    """(start, stop) of neighbours that are of one size, `most` of them at a time.

    Example:
        >>> small, large = np.zeros((2, 2, 1), np.float32), np.zeros((3, 3, 1), np.float32)
        >>> runs_of_one_size([small, small, small, large], most=2)
        [(0, 2), (2, 3), (3, 4)]
    """
    found, start = [], 0
    for stop in range(1, len(images) + 1):
        full = stop - start == most or stop == len(images)
        if full or images[stop].shape != images[start].shape:
            found.append((start, stop))
            start = stop
    return found
