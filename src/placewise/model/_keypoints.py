"""Image in, keypoints out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.data import as_input, scaled_size
from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size, ratio_of, rescale
from placewise.heads import HEADS, Decoded, KeypointHead
from placewise.labels import KeypointSample, Visibility
from placewise.metrics import errors
from placewise.model._network import Network


@dataclass(frozen=True)
class Located:
    """The keypoints on one image.

    Attributes:
        points: (points, 2) of (x, y) in pixels of the image.
        scores: (points,) probability that the point is on the image.
        spreads: (points,) how far in pixels the model itself believes it may be off.
    """

    points: FloatArray
    scores: FloatArray
    spreads: FloatArray


class KeypointModel(Network):
    """A backbone and a head: an image of any size in, keypoints out.

    Args:
        settings: what to build.

    Example:
        >>> from placewise.data import InputSettings
        >>> from placewise.model import ModelSettings
        >>> view = InputSettings(scale=1.0, frame=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
        >>> settings = ModelSettings(names=("nose",), input=view, backbone_settings={"width": 16})
        >>> model = KeypointModel(settings).eval()
        >>> model.locate(np.zeros((45, 61, 1), np.uint8)).points.shape
        (1, 2)
    """

    head: KeypointHead

    def _head(self) -> KeypointHead:
        member: Any = HEADS[self.settings.head]
        built: KeypointHead = member(
            self.backbone.out_channels,
            len(self.settings.names),
            self.backbone.stride,
            self.frame,
            **self._head_settings(),
        )
        return built

    def answer(self, images: torch.Tensor) -> Decoded:
        """Keypoints on images of one size, which may be any: they are padded here.

        Args:
            images: (batch, channels, height, width) in 0..1, at the network's scale.

        Raises:
            SettingsError: the head is tied to one size, and this is another.
        """
        size = (images.shape[-2], images.shape[-1])
        padded = self.padding.pad(images, self._margins(size))
        return self.head.decode(self(padded).float(), size)

    def _margins(self, size: Size) -> list[tuple[int, int]]:
        """Rows and columns to add at the bottom and the right."""
        if not self.head.any_size:
            if any(side > limit for side, limit in zip(size, self.frame, strict=True)):
                raise SettingsError(
                    f"the head '{self.settings.head}' flattens its features, so it answers only on "
                    f"images of up to {self.frame[1]}×{self.frame[0]} px at its scale; got "
                    f"{size[1]}×{size[0]} px. Make the image smaller, or train with the head "
                    "'heatmap', which takes any size"
                )
            return [(0, limit - side) for side, limit in zip(size, self.frame, strict=True)]
        return [(0, -side % self.backbone.multiple) for side in size]

    @torch.inference_mode()
    def locate(self, image: NDArray[np.generic]) -> Located:
        """Keypoints on one image.

        Args:
            image: (height, width, channels) uint8, uint16 or float in 0..1, of any size.
        """
        shown = as_input(image, self.settings.input)
        return self.locate_scaled(shown, (image.shape[0], image.shape[1]))

    @torch.inference_mode()
    def locate_scaled(self, shown: NDArray[np.float32], size: Size) -> Located:
        """Keypoints on an image that is at the network's scale already.

        Args:
            shown: (h, w, channels) in 0..1, what `as_input` gave.
            size: (height, width) of the image that it was made of, in whose pixels to answer.
        """
        ratio = ratio_of((shown.shape[0], shown.shape[1]), size)
        keypoints = self.answer(self.as_batch(shown))
        return Located(
            rescale(keypoints.keypoints[0].double().cpu().numpy(), ratio),
            keypoints.scores[0].double().cpu().numpy(),
            keypoints.uncertainty[0].double().cpu().numpy() * float(np.sqrt(ratio[0] * ratio[1])),
        )

    @torch.inference_mode()
    def encode_and_decode(
        self, points: FloatArray, visibility: NDArray[np.int8], size: Size
    ) -> FloatArray:
        """Points after they were written down as the head writes them and read off again.

        Their distance from the truth is the decode floor: no training can go below it.

        Args:
            points: (points, 2) in pixels of the image.
            visibility: (points,) of `Visibility`.
            size: (height, width) of the image.
        """
        shown = scaled_size(size, self.settings.input.scale)
        margins = self._margins(shown)
        padded = (shown[0] + margins[0][1], shown[1] + margins[1][1])
        there = torch.from_numpy(rescale(points, ratio_of(size, shown)))[None].float()
        encode = self.head.encode(there, torch.from_numpy(visibility)[None], padded)
        read = self.head.decode(encode, shown).keypoints[0].double().numpy()
        return rescale(read, ratio_of(shown, size))


def decode_floor(
    model: KeypointModel,
    samples: Sequence[KeypointSample],
    truth: FloatArray,
    visibility: NDArray[np.int8],
) -> float | None:
    """Mean error in px that is left when the truth is written down and read off again.

    Args:
        model: its head writes and reads.
        samples: N images, for their sizes.
        truth: (N, points, 2).
        visibility: (N, points) of `Visibility`.

    Returns:
        The mean over the located points; None where there are none.
    """
    read = np.stack(
        [
            model.encode_and_decode(points, known, sample.size)
            for sample, points, known in zip(samples, truth, visibility, strict=True)
        ]
    )
    off = errors(read, np.where((visibility >= Visibility.HIDDEN)[..., None], truth, np.nan))
    known = off[np.isfinite(off)]
    return float(known.mean()) if len(known) else None
