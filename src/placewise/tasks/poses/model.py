"""Images in, objects with keypoints out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from placewise.gathering import Gathering
from placewise.geometry import FloatArray, Size, ratio_of, rescale
from placewise.grouping import assign, nearest
from placewise.heads.poses import Candidates, Poses
from placewise.model import Network
from placewise.tasks.poses.prediction import PosePrediction

SNAP = 0.2
"""How far a peak may be from where its object expects it, as a share of the object's extent."""

LEAST = 0.3
"""Score from which on a keypoint, or an object, is there before validation images have said."""


class PoseModel(Network[PosePrediction]):
    """A backbone and a head: images of any size in, objects with keypoints out.

    Args:
        backbone: images (batch, channels, height, width) to features; any module.
        head: features to centres, peaks and offsets.
        names: of the keypoints; None: numbers.
        input: how images are brought to the network; None: as they are, in 0..1.
        padding: rule by which images are padded to a multiple of the backbone's stride.
        settings: what it was built from; None for a model that was put together by hand.

    Example:
        >>> from torch import nn
        >>> backbone = nn.Conv2d(3, 8, 4, stride=4)
        >>> model = PoseModel(backbone, Poses(8, keypoints=2), names=["head", "tail"]).eval()
        >>> model.predict(np.zeros((45, 61, 3), np.uint8)).keypoints.shape[1:]
        (2, 2)
    """

    head: Poses

    def _named(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Names, or numbers where none are given."""
        return self._fitting(names, self.head.keypoints)

    def decode(
        self, output: Tensor, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[PosePrediction]:
        """Objects off the maps; see `Network.decode`."""
        decoded = self.head.decode(output, shown)
        parts = zip(decoded, sizes, images, strict=True)
        return [self._grouped(one, shown, size, image) for one, size, image in parts]

    def gathering(self, shown: Size, size: Size, image: str) -> Gathering[PosePrediction]:
        """The same tile by tile; see `Network.gathering`."""
        return self.head.gathering(shown).then(
            lambda one: self._grouped(one, shown, size, image),
        )

    def _grouped(self, one: Candidates, shown: Size, size: Size, image: str) -> PosePrediction:
        """Objects of one image: each takes sure peaks that are near where it expects them."""
        reach = SNAP * self.head.extent
        sure = one.scores**2, one.peak_scores
        index = assign(one.expected, one.peaks, one.kinds, reach, sure)
        peaks = index >= 0
        places, scores = one.expected, one.heat
        if peaks.any():
            places = np.where(peaks[..., None], one.peaks[index], places)
            scores = np.where(peaks, one.peak_scores[index], scores)
        found = np.sqrt(one.scores * scores.mean(1)) if len(scores) else one.scores
        order = np.argsort(-found, kind="stable")
        ratio, least = ratio_of(shown, size), float(self.calibration.get("instance", LEAST))
        return PosePrediction(
            self.names,
            image,
            size,
            rescale(places, ratio),
            scores,
            peaks,
            found,
            float(self.calibration.get("keypoint", LEAST)),
            least,
            nearest=rescale(_nearest(one, found >= least), ratio),
        ).only(order)


def _nearest(one: Candidates, there: NDArray[np.bool_]) -> FloatArray:
    """(n, keypoints, axes) the surest peak of each kind of those nearest to each centre.

    Args:
        one: what the maps say.
        there: (n,) which centres are objects; others get nothing.
    """
    found = np.full(one.expected.shape, np.nan)
    centres = np.flatnonzero(there)
    if not len(centres):
        return found
    owner = centres[nearest(one.peaks, one.centres[centres])]
    for peak in np.argsort(one.peak_scores, kind="stable"):  # the surest last: it stays
        found[owner[peak], one.kinds[peak]] = one.peaks[peak]
    return found
