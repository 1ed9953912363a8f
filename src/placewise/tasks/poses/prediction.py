"""The objects on one image with their keypoints: one type from the model to the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.formats import write_dataset
from placewise.geometry import FloatArray, Size
from placewise.labels import KeypointSample, PoseDataset, Visibility
from placewise.model import ModelSettings

DECIMALS = 3
"""Decimals of numbers in files: a thousandth of a pixel."""

COLUMNS = ("image", "instance", "keypoint", "x", "y", "score", "found", "instance_score")

PEAK, INFERRED, MISSING = "peak", "inferred", "missing"
"""What the column `found` says of a keypoint."""

TRACK = "track"
"""The column of identities."""


@dataclass(frozen=True)
class PosePrediction:
    """The objects on one image, the surest first.

    Attributes:
        names: of the K keypoints.
        image: name of the image; empty for an array.
        size: (height, width) of the image.
        places: (I, K, axes) of (x, y, …) in pixels where each keypoint is, or would be.
        scores: (I, K) how sure each is there, 0..1.
        peaks: (I, K) whether the map of the keypoint has a peak there; else its place is inferred
            from the centre of the object.
        instance_scores: (I,) how sure each object is there, 0..1.
        least: lowest score of a keypoint that is there; of others the place is not told.
        least_instance: lowest score of an object that is there; others are candidates, which only
            average precision looks at.
        nearest: (I, K, axes) the baseline: each peak given to the object whose centre is nearest.
        tracks: (I,) identities over images; None where they were not asked for.

    Example:
        >>> one = PosePrediction(("nose",), "a.png", (4, 4), np.ones((1, 1, 2)), np.ones((1, 1)),
        ...     np.ones((1, 1), bool), np.ones(1), 0.5, 0.5)
        >>> one.rows()
        [['a.png', 0, 'nose', 1.0, 1.0, 1.0, 'peak', 1.0]]
    """

    names: tuple[str, ...]
    image: str
    size: Size
    places: FloatArray
    scores: FloatArray
    peaks: NDArray[np.bool_]
    instance_scores: FloatArray
    least: float
    least_instance: float
    nearest: FloatArray | None = None
    tracks: NDArray[np.int64] | None = None

    @property
    def keypoints(self) -> FloatArray:
        """(I, K, axes) of (x, y, …) in pixels; NaN for a keypoint that is missing."""
        return np.where((self.scores >= self.least)[..., None], self.places, np.nan)

    @property
    def kept(self) -> PosePrediction:
        """The same with the objects alone that are there and have a keypoint."""
        there = self.instance_scores >= self.least_instance
        return self.only(there & _told(self.keypoints).any(1))

    def only(self, chosen: NDArray[Any]) -> PosePrediction:
        """The same with some of the objects.

        Args:
            chosen: (I,) whether each is one of them, or their numbers in order.
        """
        return replace(
            self,
            places=self.places[chosen],
            scores=self.scores[chosen],
            peaks=self.peaks[chosen],
            instance_scores=self.instance_scores[chosen],
            nearest=None if self.nearest is None else self.nearest[chosen],
            tracks=None if self.tracks is None else self.tracks[chosen],
        )

    def rows(self) -> list[list[Any]]:
        """A row of `predictions.csv` for each keypoint of each object; see `COLUMNS`."""
        one, rows = self.kept, []
        for i, keypoints in enumerate(one.keypoints):
            track = [] if one.tracks is None else [int(one.tracks[i])]
            for k, name in enumerate(self.names):
                there = bool(np.isfinite(keypoints[k]).all())
                found = MISSING if not there else PEAK if one.peaks[i, k] else INFERRED
                place = [_short(value) for value in keypoints[k]]
                sure = _short(one.scores[i, k]), found, _short(one.instance_scores[i])
                rows.append([self.image, i, name, *place, *sure, *track])
        return rows


def _short(value: float) -> float | str:
    return round(float(value), DECIMALS) if np.isfinite(value) else ""


def read_rows(
    names: Sequence[str], image: str, size: Size, rows: Sequence[Sequence[str]]
) -> PosePrediction:
    """The prediction that wrote these rows, as exact as they are.

    Args:
        names: of the keypoints.
        image: name of the image.
        size: of the image.
        rows: the cells of `COLUMNS`, one row for each keypoint of each object.
    """
    axes = len(size)
    objects = [list(cells) for _, cells in groupby(rows, key=lambda row: row[1])]
    shape = (len(objects), len(names))
    places, scores = np.full((*shape, axes), np.nan), np.zeros(shape)
    peaks, sure = np.zeros(shape, bool), np.zeros(len(objects))
    tracks = np.full(len(objects), -1, np.int64)
    at = 3 + axes
    for i, cells in enumerate(objects):
        for k, row in enumerate(cells):
            places[i, k] = [float(cell or "nan") for cell in row[3:at]]
            scores[i, k], peaks[i, k] = float(row[at]), row[at + 1] == PEAK
            sure[i] = float(row[at + 2])
            if len(row) > at + 3:
                tracks[i] = int(row[at + 3])
    followed = any(len(row) > at + 3 for row in rows)
    return PosePrediction(
        tuple(names),
        image,
        size,
        places,
        scores,
        peaks,
        sure,
        0.0,
        0.0,
        tracks=tracks if followed else None,
    )


def _told(places: FloatArray) -> NDArray[np.bool_]:
    """(I, K) which keypoints have a place."""
    return np.asarray(np.isfinite(places).all(-1))


def sample_of(one: PosePrediction) -> KeypointSample:
    """A prediction as labels with scores; an image without objects is labelled as empty."""
    keypoints = one.keypoints
    there = np.isfinite(keypoints).all(-1)
    seen = np.where(one.peaks, Visibility.VISIBLE, Visibility.HIDDEN)
    visibility = np.where(there, seen, Visibility.ABSENT).astype(np.int8)
    scores = np.where(there, one.scores, np.nan)
    tracks = one.tracks
    if not len(keypoints):
        shape = (1, len(one.names))
        keypoints = np.full((*shape, len(one.size)), np.nan)
        visibility = np.full(shape, Visibility.ABSENT, np.int8)
        scores = np.full(shape, np.nan)
        tracks = None
    return KeypointSample(one.image, one.size, keypoints, visibility, scores=scores, tracks=tracks)


def export(root: Path, settings: ModelSettings, found: Iterable[PosePrediction], out: Path) -> None:
    """Write predictions for other programs: COCO, and DeepLabCut's table of several animals.

    Args:
        root: folder of the images.
        settings: of the model, for names and skeleton.
        found: the predictions.
        out: the folder.
    """
    samples = tuple(sample_of(one) for one in found)
    dataset = PoseDataset(root, settings.names, samples, settings.symmetry, settings.skeleton)
    write_dataset(dataset, out / "predictions.coco.json", overwrite=True)
    file = out / "predictions.deeplabcut.csv"
    write_dataset(dataset, file, "deeplabcut", overwrite=True, lossy=True)
