"""Keypoints as files and drawings."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from placewise.files import write_text
from placewise.formats.coco import write_predictions as write_coco
from placewise.formats.deeplabcut import write_predictions as write_deeplabcut
from placewise.geometry import FloatArray, Size
from placewise.images import ImageArray
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.model import KeypointModel, Located, ModelSettings
from placewise.prediction._answers import Answers
from placewise.report.drawing import keypoints
from placewise.report.marks import Overlay
from placewise.run import Run

DECIMALS = 3
"""Decimals of the coordinates in files: a thousandth of a pixel."""


@dataclass(frozen=True)
class Prediction:
    """The keypoints on one image file.

    Attributes:
        image: path relative to the folder of the images, with forward slashes.
        size: (height, width) of the image.
        points: (points, 2) of (x, y) in pixels.
        scores: (points,) probability that the point is on the image.
        radii: (points,) pixels within which 90 % of truths lie; NaN before calibration.
    """

    image: str
    size: Size
    points: FloatArray
    scores: FloatArray
    radii: FloatArray


class KeypointAnswers(Answers[Prediction, KeypointModel]):
    """Keypoints; see `Answers`."""

    def __init__(self, run: Run, model: KeypointModel, threshold: float = 0.5) -> None:
        super().__init__(run, model, threshold)
        self.factor = run.radius_factor()

    def answer(self, image: str, pixels: ImageArray) -> Prediction:
        """Keypoints with their radii."""
        size = (pixels.shape[0], pixels.shape[1])
        return prediction(image, size, self.model.locate(pixels), self.factor)

    def overlay(self, image: ImageArray, one: Prediction) -> Overlay:
        """The image with its keypoints, and what they are."""
        return keypoints(
            image,
            one.points,
            self.run.facts.model.names,
            radii=one.radii,
            scores=one.scores,
            threshold=self.threshold,
            skeleton=self.run.facts.model.skeleton,
            legend=True,
        )

    def write(self, root: Path, found: Sequence[Prediction], out: Path) -> None:
        """predictions.csv, COCO and DeepLabCut."""
        model = self.run.facts.model
        labels = as_labels(root, model, found)
        scores = [one.scores for one in found]
        write_text(out / "predictions.csv", table(model.names, found))
        write_coco(labels, scores, out / "predictions.coco.json")
        write_deeplabcut(labels, scores, out / "predictions.deeplabcut.csv")

    def about(self) -> dict[str, str]:
        """The columns, and the convention of the coordinates."""
        return {
            "pixel_convention": self.run.facts.pixel_convention,
            "r90": "pixels within which 90 % of truths lie, calibrated on validation images",
            "score": "probability that the point is on the image",
        }


def prediction(image: str, size: Size, located: Located, factor: float | None) -> Prediction:
    """Keypoints with their radii: the model's spread times the factor that calibration found."""
    radii = located.spreads * (np.nan if factor is None else factor)
    return Prediction(image, size, located.points, located.scores, radii)


def table(names: Sequence[str], found: Sequence[Prediction]) -> str:
    """Predictions as long CSV: `image,point,x,y,score,r90`.

    Example:
        >>> one = Prediction("a.png", (4, 4), np.array([[1.0, 2.5]]), np.array([0.9]),
        ...                  np.array([np.nan]))
        >>> print(table(["nose"], [one]))
        image,point,x,y,score,r90
        a.png,nose,1.0,2.5,0.9,
        <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "point", "x", "y", "score", "r90"])
    for one in found:
        rows = zip(names, one.points, one.scores, one.radii, strict=True)
        for name, (x, y), score, radius in rows:
            shown = [round(float(value), DECIMALS) for value in (x, y, score)]
            writer.writerow([one.image, name, *shown, _number(radius)])
    return text.getvalue()


def _number(value: float) -> str:
    return str(round(float(value), DECIMALS)) if np.isfinite(value) else ""


def as_labels(root: Path, model: ModelSettings, found: Sequence[Prediction]) -> KeypointDataset:
    """Predictions as labels: every keypoint visible."""
    samples = tuple(
        KeypointSample(
            one.image,
            one.size,
            one.points[None].round(DECIMALS),
            np.full((1, len(one.points)), Visibility.VISIBLE, np.int8),
        )
        for one in found
    )
    return KeypointDataset(root, model.names, samples, model.symmetry, model.skeleton)
