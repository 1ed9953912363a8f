"""Keypoints of test images, one by one: what a comparison of models is made on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from placewise.augment import generator
from placewise.augment.deformation import DEFORMED, deform, follow, smooth_field
from placewise.geometry import FloatArray, Size, inside, ratio_of
from placewise.items import SAME, Change, Items
from placewise.labels import KeypointDataset, KeypointSample, Visibility, single
from placewise.tasks.keypoints.model import KeypointModel


class KeypointItems(Items):
    """Error of each located keypoint in pixels of its image.

    Args:
        model: the trained model.
        dataset: reads the images.
        samples: whose.
    """

    def __init__(
        self, model: KeypointModel, dataset: KeypointDataset, samples: Sequence[KeypointSample]
    ) -> None:
        self.model, self.samples = model, samples
        pairs = [single(sample, dataset.source) for sample in samples]
        self.truth = np.stack([points for points, _ in pairs])
        self.known = np.stack([visibility >= Visibility.HIDDEN for _, visibility in pairs])
        self.names = [f"{samples[i].image}#{dataset.names[k]}" for i, k in np.argwhere(self.known)]
        self.shown = [model.prepared(*dataset.reading(sample.image)) for sample in samples]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Items.score`."""
        off = np.full(self.known.shape, np.nan)
        for i, (shown, sample) in enumerate(zip(self.shown, self.samples, strict=True)):
            found = self._places(change.image(shown), sample.size)
            ratio = ratio_of(shown.shape[:-1], sample.size)
            moved = np.multiply(change.moved, ratio)
            there = inside(self.truth[i] + moved, sample.size)
            distance = np.linalg.norm(found - moved - self.truth[i], axis=-1)
            off[i] = np.where(there, distance, np.nan)
        errors: FloatArray = off[self.known]
        return errors

    def _places(self, shown: NDArray[np.float32], size: Size) -> FloatArray:
        (one,) = self.model.predict_scaled(shown[None], [size])
        return one.keypoints

    def deformation(self, seed: int) -> float | None:
        """R_τ: how far keypoints stay behind a smooth deformation, against standing still.

        R_τ = E‖p(τx) − τ(p(x))‖ / E‖p(x) − τ(p(x))‖ over the located points, with τ as in
        `ClassItems.deformation` and τ(p) where the deformation brings what was at p. 0: the
        keypoints
        move exactly with the image; 1: no nearer than keypoints that stay. It asks for no truth,
        so a
        network that is wrong in the same way before and after has 0 too. The first 256 images are
        taken.

        Args:
            seed: of τ.

        Returns:
            R_τ; None where the deformation moves no keypoint, and of signals and volumes.
        """
        if self.axes != 2:
            return None
        rng = generator(seed, 0, "deformation")
        behind, moved = 0.0, 0.0
        for image, known in list(zip(self.shown, self.known, strict=True))[:DEFORMED]:
            size = image.shape[:-1]
            field = smooth_field(rng, size)
            plain = self._places(image, size)[known]
            found = self._places(deform(image, field), size)[known]
            expected = follow(plain, field)
            behind += np.linalg.norm(found - expected, axis=-1).sum()
            moved += np.linalg.norm(plain - expected, axis=-1).sum()
        return float(behind / moved) if moved else None
