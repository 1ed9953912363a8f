"""The spots on one image: one type from the model to the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray, Size

DECIMALS = 3
"""Decimals of the coordinates in files: a thousandth of a pixel."""

THRESHOLD = 0.3
"""Score from which on a spot counts where no threshold was chosen on validation images."""

AXES = ("x", "y", "z")


def columns(axes: int = 2) -> list[str]:
    """Names of the columns of `predictions.csv`.

    Example:
        >>> columns()
        ['image', 'keypoint', 'x', 'y', 'score']
    """
    return ["image", "keypoint", *AXES[:axes], "score"]


@dataclass(frozen=True)
class SpotPrediction:
    """The spots on one image, of all kinds, the surest first.

    Attributes:
        names: of the kinds.
        image: name of the image; empty for an array.
        size: of the image in pixels.
        candidates: (n, axes) of (x, y, …) in pixels, also of spots that are not sure enough.
        candidate_kinds: (n,) number of the kind of each.
        candidate_scores: (n,) how sure each is, 0 to 1.
        thresholds: (kinds,) score from which on a candidate of a kind counts as a spot.
        tolerance: pixels within which a spot is a labelled one; None: that of the labels.

    Example:
        >>> one = SpotPrediction(("cell",), "a.png", (4, 4), np.array([[1.0, 2.5], [3.0, 0.0]]),
        ...                      np.zeros(2, int), np.array([0.9, 0.1]), np.array([0.5]))
        >>> one.rows(), one.counts
        ([['a.png', 'cell', 1.0, 2.5, 0.9]], {'cell': 1})
    """

    names: tuple[str, ...]
    image: str
    size: Size
    candidates: FloatArray
    candidate_kinds: NDArray[np.intp]
    candidate_scores: FloatArray
    thresholds: FloatArray
    tolerance: float | None = None

    @property
    def sure(self) -> NDArray[np.bool_]:
        """(n,) which candidates count as spots."""
        return np.asarray(self.candidate_scores >= self.thresholds[self.candidate_kinds])

    @property
    def points(self) -> FloatArray:
        """(spots, axes) of (x, y, …) in pixels."""
        return self.candidates[self.sure]

    @property
    def kinds(self) -> NDArray[np.intp]:
        """(spots,) number of the kind of each."""
        return self.candidate_kinds[self.sure]

    @property
    def scores(self) -> FloatArray:
        """(spots,) how sure each is."""
        return self.candidate_scores[self.sure]

    @property
    def counts(self) -> dict[str, int]:
        """Number of spots of each kind."""
        found = np.bincount(self.kinds, minlength=len(self.names))
        return dict(zip(self.names, found.tolist(), strict=True))

    def rows(self) -> list[list[Any]]:
        """A row of `predictions.csv` for each spot; see `columns`."""
        found = zip(self.kinds, self.points, self.scores, strict=True)
        return [
            [self.image, self.names[kind], *(_short(at) for at in place), _short(score)]
            for kind, place, score in found
        ]


def _short(value: float) -> float:
    return round(float(value), DECIMALS)


def read_rows(
    names: Sequence[str], image: str, size: Size, rows: Sequence[Sequence[str]]
) -> SpotPrediction:
    """The prediction that wrote these rows, as exact as they are.

    Args:
        names: of the kinds.
        image: name of the image.
        size: of the image.
        rows: the cells of `columns`, one row for each spot.
    """
    places = [[float(cell) for cell in row[2:]] for row in rows]
    values = np.array(places).reshape(-1, len(size) + 1)
    kinds = np.array([names.index(row[1]) for row in rows], np.intp)
    nothing = np.zeros(len(names))
    return SpotPrediction(tuple(names), image, size, values[:, :-1], kinds, values[:, -1], nothing)
