"""Images in, the class of each pixel out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.gathering import Gathering
from placewise.geometry import Size
from placewise.heads.masks import Masks as MaskHead
from placewise.mask_losses import probabilities
from placewise.model import Network
from placewise.tasks.masks.huge import MaskGathering
from placewise.tasks.masks.prediction import MaskPrediction

LINEAR = ("linear", "bilinear", "trilinear")
"""What torch calls resizing by number of axes, less one."""


class MaskModel(Network[MaskPrediction]):
    """A backbone and a head: images in, the class of each pixel out.

    Args:
        backbone: images (batch, channels, *size) to features; any module.
        head: features to logits of pixels.
        names: of the classes without the background; None: numbers.
        input: how images are brought to the network; None: as they are, in 0..1.
        padding: rule by which images are padded to a multiple of the backbone's stride.
        settings: what it was built from; None for a model that was put together by hand.

    Example:
        >>> import torch
        >>> backbone = torch.nn.Conv2d(1, 8, 4, stride=4)
        >>> model = MaskModel(backbone, MaskHead(8, 1, stride=4), names=("cell",)).eval()
        >>> model.predict(np.zeros((30, 40), np.uint8)).mask.shape
        (30, 40)
    """

    head: MaskHead

    @property
    def threshold(self) -> float:
        """Probability above which a pixel is of the one class."""
        return float(self.calibration.get("threshold", 0.5))

    def _named(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Names, or numbers where none are given: as many as the head has classes."""
        return self._fitting(names, self.head.classes, "classes")

    def decode(
        self, output: Tensor, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[MaskPrediction]:
        """Classes of pixels, at the size of the images; see `Network.decode`.

        Probabilities are resized, and only then compared: a mask that is resized itself has steps.
        """
        chances = probabilities(output)
        if self.head.map_stride > 1:
            chances = functional.interpolate(
                chances, scale_factor=self.head.map_stride, mode=LINEAR[chances.ndim - 3]
            )
        for axis, side in enumerate(shown, 2):
            chances = chances.narrow(axis, 0, side)
        found = zip(chances, images, sizes, strict=True)
        return [self._one(maps, image, size) for maps, image, size in found]

    def gathering(self, shown: Size, size: Size, image: str) -> Gathering[Any]:
        """The same tile by tile, into a file; see `Network.gathering`."""
        if len(self.names) > 255 or len(size) != 2:
            raise SettingsError(
                f"got {len(self.names)} classes and {len(size)} axes; a mask that is written part "
                "by part has at most 255 classes and 2 axes: cut or shrink the image"
            )
        stride, threshold = self.head.map_stride, self.threshold
        return MaskGathering(self.names, image, shown, size, stride, threshold)

    def _one(self, chances: Tensor, image: str, size: Size) -> MaskPrediction:
        """The prediction from probabilities (classes, *shown)."""
        if chances.shape[1:] != tuple(size):
            mode = LINEAR[len(size) - 1]
            chances = functional.interpolate(chances[None], tuple(size), mode=mode)[0]
        best, likeliest = chances.max(0)
        likeliest = likeliest + 1
        if len(chances) > 1:
            background = 1 - chances.sum(0)
            likeliest = likeliest * (best > background)
            best = best.maximum(background)
        small = np.uint8 if len(chances) < 256 else np.uint16
        return MaskPrediction(
            self.names,
            image,
            tuple(size),
            likeliest.cpu().numpy().astype(small),
            best.cpu().numpy().astype(np.float16),
            self.threshold,
        )
