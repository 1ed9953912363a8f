"""To learn keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from placewise.data import KeypointTrainingSet, ScaledImages, single
from placewise.geometry import FloatArray
from placewise.labels import KeypointDataset, KeypointSample
from placewise.metrics import conformal_factor, errors, turns
from placewise.model import KeypointModel, Located
from placewise.report.drawing import keypoints, sheet, to_png
from placewise.training._task import SHOWN, Task, Validation

LEAST_TURN, MOST_TURN = 5.0, 15.0
"""Degrees by which images are turned at random, either way."""

LEVEL = 0.9
"""Share of truths that calibrated radii hold."""


class Decoded(Task[KeypointSample, KeypointModel]):
    """Where points are: chosen by the mean error, calibrated by split conformal prediction."""

    batch = 8
    validated = 64
    learning = KeypointTrainingSet
    labels: KeypointDataset

    def augmentation(self, samples: Sequence[KeypointSample]) -> dict[str, Any]:
        """Mirroring and turning for these data.

        Images are mirrored only where names say which points change places. They are turned by
        as much as the labels themselves are turned, twice the standard deviation of their angles,
        but by 5° at least and 15° at most: a fixed camera and a held animal make "left of" and
        "below" a hint, and turning every image by 15° would take it away.
        """
        points = np.stack([single(sample, self.labels.source)[0] for sample in samples])
        angles = turns(points)
        spread = float(np.nanstd(angles)) if np.isfinite(angles).sum() > 1 else np.inf
        rotate = round(float(np.clip(2 * spread, LEAST_TURN, MOST_TURN)), 1)
        flip = bool(self.labels.symmetry)
        return {"flip": flip, "rotate": rotate, "shear": round(rotate / 3, 1)}

    def stamp(self, sample: KeypointSample) -> bytes:
        """Coordinates and states."""
        return sample.points.round(6).tobytes() + sample.visibility.tobytes()

    def validate(
        self, model: KeypointModel, images: ScaledImages, samples: Sequence[KeypointSample]
    ) -> Validation:
        """Mean Euclidean error in px over the located points."""
        found = [
            model.locate_scaled(images[index], sample.size) for index, sample in enumerate(samples)
        ]
        off, _ = self._errors_and_spreads(samples, found)
        error = float(off.mean()) if len(off) else None
        said = "" if error is None else f"validation {error:.2f} px"
        return Validation({"val_error_px": error}, error, said, self._preview(samples, found))

    def _preview(self, samples: Sequence[KeypointSample], found: Sequence[Located]) -> bytes:
        drawn = [
            keypoints(
                self.labels.image(sample.image),
                located.points,
                self.labels.names,
                truth=single(sample, None)[0],
                scores=located.scores,
                skeleton=self.labels.skeleton,
            )
            for sample, located in zip(samples[:SHOWN], found[:SHOWN], strict=True)
        ]
        captions = [sample.image for sample in samples[:SHOWN]]
        return to_png(sheet(drawn, captions, names=self.labels.names))

    def calibrate(
        self, model: KeypointModel, samples: Sequence[KeypointSample]
    ) -> dict[str, Any] | None:
        """Split conformal prediction: the factor from the model's spreads to radii."""
        found = [model.locate(self.labels.image(sample.image)) for sample in samples]
        off, spread = self._errors_and_spreads(samples, found)
        if not len(off):
            return None
        factor = conformal_factor(off, spread, LEVEL)
        return {"level": LEVEL, "points": len(off), "factor": factor}

    def _errors_and_spreads(
        self, samples: Sequence[KeypointSample], found: Sequence[Located]
    ) -> tuple[FloatArray, FloatArray]:
        """(n,) errors in px of all located points and the (n,) spreads that were said of them."""
        truth = np.stack([single(sample, self.labels.source)[0] for sample in samples])
        off = errors(np.stack([one.points for one in found]), truth)
        known = np.isfinite(off)
        return off[known], np.stack([one.spreads for one in found])[known]
