"""Images in, spots out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from placewise.gathering import Gathering
from placewise.geometry import Size, ratio_of, rescale
from placewise.heads.spots import Spots
from placewise.model import Network
from placewise.peaks import Peaks
from placewise.tasks.spots.prediction import THRESHOLD, SpotPrediction


class SpotModel(Network[SpotPrediction]):
    """A backbone and a head: images of any size in, any number of spots out.

    Args:
        backbone: images (batch, channels, *size) to features; any module.
        head: features to spots.
        names: of the kinds; None: numbers.
        input: how images are brought to the network; None: as they are, in 0..1.
        padding: rule by which an image is padded to a multiple of the backbone's stride.
        settings: what it was built from; None for a model that was put together by hand.

    Example:
        >>> from torch import nn
        >>> backbone = nn.Conv2d(3, 8, 4, stride=4)
        >>> model = SpotModel(backbone, Spots(8, kinds=2)).eval()
        >>> model.predict(np.zeros((45, 61, 3), np.uint8)).points.shape[1]
        2
    """

    head: Spots

    def decode(
        self, output: Tensor, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[SpotPrediction]:
        """Spots off the maps; see `Network.decode`."""
        decoded = self.head.decode(output, shown)
        parts = zip(decoded, sizes, images, strict=True)
        return [self._answer(of_kind, shown, size, image) for of_kind, size, image in parts]

    def gathering(self, shown: Size, size: Size, image: str) -> Gathering[SpotPrediction]:
        """The same tile by tile; see `Network.gathering`."""
        return self.head.gathering(shown).then(
            lambda of_kind: self._answer(of_kind, shown, size, image)
        )

    def _answer(
        self, of_kind: Sequence[Peaks], shown: Size, size: Size, image: str
    ) -> SpotPrediction:
        """The spots of all kinds on one image, the surest first."""
        held = self.calibration.get("thresholds", {})
        thresholds = np.array([float(held.get(name, THRESHOLD)) for name in self.names])
        scores = np.concatenate([one.heat for one in of_kind])
        kinds = np.repeat(np.arange(len(of_kind)), [len(one.heat) for one in of_kind])
        points = np.concatenate([one.points for one in of_kind])
        order = np.argsort(-scores, kind="stable")
        places = rescale(points, ratio_of(shown, size))[order]
        candidates = places, kinds[order], scores[order]
        tolerance = self.calibration.get("tolerance_px")
        return SpotPrediction(self.names, image, size, *candidates, thresholds, tolerance)
