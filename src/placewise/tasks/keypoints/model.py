"""Images in, keypoints out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from placewise.errors import SettingsError
from placewise.gathering import Gathering
from placewise.geometry import FloatArray, Size, ratio_of, rescale
from placewise.heads import Decoded, KeypointHead
from placewise.labels import KeypointSample, Visibility
from placewise.metrics import errors
from placewise.model import Network, Spacing, Whereabouts, shown_size
from placewise.tasks.keypoints.prediction import KeypointPrediction
from placewise.wording import sides_of


class KeypointModel(Network[KeypointPrediction]):
    """A backbone and a head: images of any size in, keypoints out.

    Args:
        backbone: images (batch, channels, *size) to features; any module.
        head: features to keypoints.
        names: of the keypoints; None: numbers.
        input: how images are brought to the network; None: as they are, in 0..1.
        padding: rule by which images are padded to a multiple of the backbone's stride.
        settings: what it was built from; None for a model that was put together by hand.

    Example:
        >>> from placewise.heads.heatmap import Heatmap
        >>> from torch import nn
        >>> backbone = nn.Conv2d(3, 8, 4, stride=4)
        >>> model = KeypointModel(backbone, Heatmap(8, keypoints=2)).eval()
        >>> model.predict(np.zeros((45, 61, 3), np.uint8)).keypoints.shape
        (2, 2)
    """

    head: KeypointHead
    answers: ClassVar[Mapping[str, str]] = {
        "keypoints": "(batch, keypoints, axes) of (x, y, …) in pixels of the image that is given",
        "scores": "(batch, keypoints) probability that the keypoint is on the image",
        "radius_90": "(batch, keypoints) pixels within which 90 % of truths lie; NaN: not known",
    }

    @property
    def factor(self) -> float:
        """Radius for an uncertainty of one pixel; NaN where the model was not calibrated."""
        factor = self.calibration.get("factor")
        return np.nan if factor is None else float(factor)

    def margins(self, size: Size) -> list[tuple[int, int]]:
        """Pixels to add at the far end of each axis; see `Network.margins`."""
        if self.head.any_size:
            return super().margins(size)
        limits = self.input_size
        if any(side > limit for side, limit in zip(size, limits, strict=True)):
            raise SettingsError(
                f"the head {type(self.head).__name__} flattens its features, so it takes only "
                f"images of up to {sides_of(limits)} at its scale; got "
                f"{sides_of(size)}. Make the image smaller, or train with the head "
                "'heatmap', which takes any size"
            )
        return [(0, limit - side) for side, limit in zip(size, limits, strict=True)]

    def decode(
        self, output: Tensor, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[KeypointPrediction]:
        """Keypoints off the maps; see `Network.decode`."""
        return self._answers(self.head.decode(output, shown), shown, sizes, images)

    def gathering(self, shown: Size, size: Size, image: str) -> Gathering[KeypointPrediction]:
        """The same tile by tile; see `Network.gathering`."""
        return self.head.gathering(shown).then(
            lambda decoded: self._answers(decoded, shown, [size], [image])[0]
        )

    def whereabouts(self, one: KeypointPrediction) -> Whereabouts:
        """The keypoints; see `Network.whereabouts`."""
        if not self.head.can_say_absent:
            raise SettingsError(
                f"the head {type(self.head).__name__} with its loss says of every keypoint that it "
                "is there, so nothing tells whether it was found; leave --coarse-to-fine out"
            )
        return Whereabouts(one.keypoints, one.uncertainty, one.scores)

    def _answers(
        self, decoded: Decoded, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[KeypointPrediction]:
        """Predictions in pixels of the images."""
        parts = (decoded.keypoints, decoded.scores, decoded.uncertainty)
        keypoints, scores, uncertainty = (part.double().cpu().numpy() for part in parts)
        found = []
        for i, (size, image) in enumerate(zip(sizes, images, strict=True)):
            ratio = ratio_of(shown, size)
            unsure = uncertainty[i] * mean_ratio(ratio)
            radius = unsure * self.factor
            places = rescale(keypoints[i], ratio)
            found.append(
                KeypointPrediction(self.names, image, size, places, scores[i], unsure, radius)
            )
        return found

    def read(self, output: Tensor, shown: Size) -> dict[str, Tensor]:
        """Keypoints, scores and radii; see `Network.read`."""
        decoded = self.head.decode(output, shown)
        radii = decoded.uncertainty * self.factor
        return {"keypoints": decoded.keypoints, "scores": decoded.scores, "radius_90": radii}

    @torch.inference_mode()
    def encode_and_decode(
        self,
        points: FloatArray,
        visibility: NDArray[np.int8],
        size: Size,
        spacing: Spacing | None = None,
    ) -> FloatArray:
        """Keypoints after they were encoded as the head's maps and decoded again.

        Their distance from the truth is the decode floor: no training can go below it.

        Args:
            points: (keypoints, axes) in pixels of the image.
            visibility: (keypoints,) of `Visibility`.
            size: of the image.
            spacing: distance of its pixels along each axis; None: that of the training images.
        """
        shown = shown_size(size, self.input, spacing)
        padded = tuple(s + after for s, (_, after) in zip(shown, self.margins(shown), strict=True))
        there = torch.from_numpy(rescale(points, ratio_of(size, shown)))[None].float()
        ideal = self.head.encode(there, torch.from_numpy(visibility)[None], padded)
        read = self.head.decode(ideal, shown).keypoints[0].double().numpy()
        return rescale(read, ratio_of(shown, size))


def decode_floor(
    model: KeypointModel,
    samples: Sequence[KeypointSample],
    truth: FloatArray,
    visibility: NDArray[np.int8],
    spacings: Sequence[Spacing | None] | None = None,
) -> float | None:
    """Mean error in px that is left when the truth is encoded and decoded.

    Args:
        model: its head encodes and decodes.
        samples: N images, for their sizes.
        truth: (N, keypoints, axes).
        visibility: (N, keypoints) of `Visibility`.
        spacings: distance of the pixels of each image; None: those of the training images.

    Returns:
        The mean over the located keypoints; None where there are none.
    """
    known_by = spacings or [None] * len(samples)
    read = np.stack(
        [
            model.encode_and_decode(points, known, sample.size, step)
            for sample, points, known, step in zip(
                samples, truth, visibility, known_by, strict=True
            )
        ]
    )
    off = errors(read, np.where((visibility >= Visibility.HIDDEN)[..., None], truth, np.nan))
    known = off[np.isfinite(off)]
    return float(known.mean()) if len(known) else None


def mean_ratio(ratio: Sequence[float]) -> float:
    """The geometric mean of the ratios along the axes: how lengths in no direction scale.

    Example:
        >>> mean_ratio((2.0, 8.0))
        4.0
    """
    product = float(np.prod(ratio))
    return float(np.sqrt(product)) if len(ratio) == 2 else product ** (1 / len(ratio))
