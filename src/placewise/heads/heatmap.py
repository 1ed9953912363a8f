"""One map for each keypoint: the keypoint is where the map is hot."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from placewise.decoders import DECODERS, Decoder
from placewise.gathering import Gathering
from placewise.geometry import FloatArray, Size, to_image
from placewise.heads import Decoded
from placewise.heads._gathered import KeypointGathering
from placewise.heads._maps import FAINT, MapHead, uncertainty
from placewise.losses import LOSSES, Loss
from placewise.peaks import find_peaks

APART, MOST = 2.0, 20
"""Pixels of a map between two of its maxima, and how many are told."""

SIDE = 64
"""Length of each axis of a map that is assumed where the size of the images is not known."""


class Heatmap(MapHead):
    """One map for each keypoint, trained on Gaussians G = exp(−d² / 2σ²) about the keypoints.

    What is compared with G, how, and how the map is read, is the loss's affair: see
    `placewise.losses`. Maps follow the features, so the head answers on images of any size.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features; None: the model says it.
        input_size: size of the training images in pixels; with the loss `joint` a keypoint is then
            as likely absent as present to begin with.
        spatial_dims: axes of an image; None: as many as the input size has, or else 2.
        loss: member of `LOSSES`, or a loss.
        sigma: standard deviation of the Gaussians in pixels of the map.
        decoder: member of `DECODERS` that reads the keypoints, or a decoder.
        finer: map pixels for one pixel of the features, per axis.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> import torch
        >>> head = Heatmap(8, keypoints=2, stride=4)
        >>> head.decode(head(torch.rand(1, 8, 4, 4)), (16, 16)).keypoints.shape
        torch.Size([1, 2, 2])
    """

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None = None,
        input_size: Sequence[int] | None = None,
        spatial_dims: int | None = None,
        *,
        loss: str | Loss = "joint",
        sigma: float = 1.5,
        decoder: str | Decoder = "integral",
        finer: int = 2,
    ) -> None:
        super().__init__(
            in_channels, keypoints, stride, input_size, spatial_dims, sigma=sigma, finer=finer
        )
        self.criterion = LOSSES.make(loss)
        self.can_say_absent = self.criterion.can_say_absent
        self.decoder = DECODERS.make(decoder, self.spatial_dims)
        pixels = float(SIDE**self.spatial_dims)
        if self.stride and self.input_size:
            pixels = math.prod(self.input_size) / math.prod(self.map_stride)
        first = self.criterion.first_logit(pixels)
        nn.init.constant_(self.maps.values.bias, first)  # type: ignore[arg-type]

    def loss(self, output: Tensor, keypoints: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        logs = self.logs(keypoints, visibility, self.image_size(output))
        return self.criterion(output, logs, visibility)

    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """What the loss draws maps towards; see `KeypointHead.encode`."""
        return self.criterion.encode(self.logs(keypoints, visibility, size), visibility)

    def decode(self, output: Tensor, size: Size) -> Decoded:
        """Keypoints off the maps; see `KeypointHead.decode`."""
        heat, scores = self.criterion.read(self.on_image(output.float(), size))
        points, stride = self.decoder(heat), self.map_stride[::-1]
        return Decoded(to_image(points, stride), scores, uncertainty(heat, points, stride))

    def gathering(self, size: Size) -> Gathering[Decoded]:
        """The same tile by tile; see `KeypointHead.gathering`."""
        return KeypointGathering(
            self.keypoints,
            self.touched(size),
            self.map_stride,
            self.criterion.heat_of,
            self.criterion.score_of,
            self.decoder,
        )

    def hills(self, output: Tensor, size: Size) -> list[FloatArray]:
        """Maxima of the maps that are at least `FAINT` of the highest; see `KeypointHead.hills`."""
        heat, _ = self.criterion.read(self.on_image(output.float(), size))
        found, stride = find_peaks(heat[0], APART, most=MOST), self.map_stride[::-1]
        return [
            to_image(one.points[one.heat >= FAINT * one.heat.max(initial=0.0)], stride)
            for one in found
        ]
