"""The keypoints on one image: one type from the model to the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from placewise.errors import SettingsError
from placewise.formats import write_dataset
from placewise.geometry import FloatArray, Size
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.model import ModelSettings

DECIMALS = 3
"""Decimals of the coordinates in files: a thousandth of a pixel."""

COLUMNS = ("image", "keypoint", "x", "y", "score", "radius_90")
"""Of images; signals have x alone, volumes x, y and z."""


def columns_of(axes: int) -> list[str]:
    """Columns of `predictions.csv`, by the number of axes.

    Example:
        >>> columns_of(3)
        ['image', 'keypoint', 'x', 'y', 'z', 'score', 'radius_90']
    """
    return [*COLUMNS[:2], *"xyz"[:axes], *COLUMNS[4:]]


@dataclass(frozen=True)
class KeypointPrediction:
    """The keypoints on one image.

    Attributes:
        names: of the K keypoints.
        image: name of the image; empty for an array.
        size: of the image.
        keypoints: (K, axes) of (x, y, …) in pixels.
        scores: (K,) probability that the keypoint is on the image.
        uncertainty: (K,) how far in pixels the model itself believes it may be off.
        radius_90: (K,) pixels within which 90 % of truths lie; NaN before calibration.

    Example:
        >>> one = KeypointPrediction(("nose",), "a.png", (4, 4), np.array([[1.0, 2.5]]),
        ...                          np.array([0.9]), np.array([0.5]), np.array([np.nan]))
        >>> one.rows()
        [['a.png', 'nose', 1.0, 2.5, 0.9, '']]
    """

    names: tuple[str, ...]
    image: str
    size: Size
    keypoints: FloatArray
    scores: FloatArray
    uncertainty: FloatArray
    radius_90: FloatArray

    def rows(self) -> list[list[Any]]:
        """A row of `predictions.csv` for each keypoint; see `columns_of`."""
        found = zip(self.names, self.keypoints, self.scores, self.radius_90, strict=True)
        return [
            [self.image, name, *map(_short, (*place, score)), _short(radius)]
            for name, place, score, radius in found
        ]

    def to_frame(self) -> Any:
        """The rows as a pandas data frame.

        Raises:
            SettingsError: pandas is not installed.
        """
        try:
            pandas: Any = import_module("pandas")
        except ImportError as error:
            raise SettingsError("pandas is not installed; run: pip install pandas") from error
        return pandas.DataFrame(self.rows(), columns=columns_of(len(self.size)))


def _short(value: float) -> float | str:
    return round(float(value), DECIMALS) if np.isfinite(value) else ""


def read_rows(
    names: Sequence[str], image: str, size: Size, rows: Sequence[Sequence[str]]
) -> KeypointPrediction:
    """The prediction that wrote these rows, as exact as they are.

    Args:
        names: of the keypoints.
        image: name of the image.
        size: of the image.
        rows: the cells of `columns_of`, one row for each keypoint.
    """
    values = np.array([[float(cell or "nan") for cell in row[2:]] for row in rows])
    unknown = np.full(len(rows), np.nan)
    places, scores, radii = values[:, :-2], values[:, -2], values[:, -1]
    return KeypointPrediction(tuple(names), image, size, places, scores, unknown, radii)


def export(
    root: Path,
    settings: ModelSettings,
    found: Iterable[KeypointPrediction],
    out: Path,
    threshold: float,
) -> None:
    """Write predictions for other programs: COCO and DeepLabCut.

    Args:
        root: folder of the images.
        settings: of the model, for names and skeleton.
        found: the predictions.
        out: the folder.
        threshold: keypoints with a lower score are absent in COCO (v = 0); DeepLabCut has a place
            and a likelihood for each.
    """
    samples = tuple(
        KeypointSample(
            one.image,
            one.size,
            one.keypoints[None],
            np.full((1, len(one.names)), Visibility.VISIBLE, np.int8),
            scores=one.scores[None],
        )
        for one in found
    )
    dataset = KeypointDataset(root, settings.names, samples, settings.symmetry, settings.skeleton)
    write_dataset(dataset.above(threshold), out / "predictions.coco.json", overwrite=True)
    file = out / "predictions.deeplabcut.csv"
    write_dataset(dataset, file, "deeplabcut", overwrite=True, lossy=True)
