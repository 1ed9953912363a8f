"""One classification for each axis and keypoint: in which column it is, and in which row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from placewise.decoders import DECODERS, Decoder
from placewise.errors import SettingsError
from placewise.geometry import Size, to_image
from placewise.heads import Decoded, KeypointHead
from placewise.heads._maps import CONVOLUTIONS, check_size, fixed_size, uncertainty
from placewise.labels import Visibility
from placewise.losses import certain, log_gaussians, presence_loss


class SimCC(KeypointHead):
    """Each coordinate is a class: bins along x, bins along y and so on, finer than pixels.

    A 1×1 convolution gives one map for each keypoint; flattened, it goes through one fully
    connected layer for each axis, which all keypoints share, to logits of the axis' bins. Each
    axis is trained by cross-entropy with G / ΣG, G = exp(−d² / 2σ²) at the bins' centres, which is
    the Kullback–Leibler divergence but for a constant (Li et al. 2022, arXiv 2107.03332). Whether a
    keypoint is there at all is read from the mean of the axes' logsumexp(z), which a softmax leaves
    free.

    The distributions make a map, p(x) · p(y), which a decoder reads. The paper takes the
    hottest bins, `decoder="argmax"`, at best a quarter of a bin off on average; the usual decoder
    here is that of heatmaps, so that heads may be compared and not decoders.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features.
        input_size: size of the training images in pixels; the head is tied to it.
        spatial_dims: axes of an image; as many as the input size has.
        sigma: standard deviation of the Gaussians in pixels of the image.
        finer: bins for one pixel of the image, per axis.
        decoder: member of `DECODERS` that reads the keypoints, or a decoder.

    Raises:
        SettingsError: a setting that cannot be, or stride or input size are not known.

    Example:
        >>> head = SimCC(8, 2, stride=4, input_size=(16, 24), finer=2)
        >>> head(torch.rand(1, 8, 4, 6)).shape  # 48 bins along x and 32 along y
        torch.Size([1, 2, 80])
    """

    any_size = False
    crops = False
    stride: Size
    input_size: Size

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None = None,
        input_size: Sequence[int] | None = None,
        spatial_dims: int | None = None,
        *,
        sigma: float = 1.5,
        finer: int = 2,
        decoder: str | Decoder = "integral",
    ) -> None:
        fixed_size("simcc", stride, input_size)
        super().__init__(in_channels, keypoints, stride, input_size, spatial_dims)
        if finer < 1:
            raise SettingsError(f"finer is {finer}; it must be 1 or more")
        if not 0.3 <= sigma * finer <= 20:
            raise SettingsError(
                f"sigma is {sigma * finer:g} bins ({sigma:g} px); it must be between 0.3 and 20"
            )
        axes, self.sigma, self.finer = self.spatial_dims, sigma, finer
        self.decoder = DECODERS.make(decoder, axes)
        sides = zip(self.input_size, self.stride, strict=True)
        places = math.prod(-(-side // step) for side, step in sides)
        self.bins = [side * finer for side in self.input_size[::-1]]
        self.maps = CONVOLUTIONS[axes - 1](in_channels, keypoints, 1)
        axis_layers = [nn.Linear(places, count) for count in self.bins]
        for layer in axis_layers:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, -math.log(layer.out_features))
        self.axes = nn.ModuleList(axis_layers)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, keypoints, bins) logits: the bins along x, then those along y, and so on."""
        self.check(features)
        check_size(features, self)
        vectors = self.maps(features).flatten(2)
        return torch.cat([axis(vectors) for axis in self.axes], -1)

    def loss(self, output: Tensor, keypoints: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        classified = sum(
            torch.logsumexp(logits, -1) - (torch.softmax(logs, -1) * logits).sum(-1)
            for logits, logs in zip(
                self._apart(output), self._logs(keypoints, visibility), strict=True
            )
        )
        losses: Tensor = classified * located + presence_loss(self._presence(output), visibility)
        return losses

    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """Logits of the Gaussians themselves; see `KeypointHead.encode`."""
        return certain(torch.cat(self._logs(keypoints, visibility), -1), visibility)

    def decode(self, output: Tensor, size: Size) -> Decoded:
        """Keypoints off the map p(x) · p(y) · …; see `KeypointHead.decode`."""
        along = [
            torch.softmax(logits[..., : side * self.finer], -1)
            for logits, side in zip(self._apart(output.float()), size[::-1], strict=True)
        ]
        heat = reduce(_outer_product, along)
        points = self.decoder(heat)
        return Decoded(
            to_image(points, 1 / self.finer),
            torch.sigmoid(self._presence(output.float())),
            uncertainty(heat, points, [1] * self.spatial_dims) / self.finer,
        )

    def _apart(self, output: Tensor) -> tuple[Tensor, ...]:
        """Logits (batch, keypoints, bins) of each axis."""
        return torch.split(output, self.bins, -1)

    def _logs(self, keypoints: Tensor, visibility: Tensor) -> list[Tensor]:
        """Log-Gaussians (batch, keypoints, bins) along each axis, at the bins' centres."""
        return [
            log_gaussians(place, visibility, (count,), 1 / self.finer, self.sigma * self.finer)
            for place, count in zip(keypoints[..., None].unbind(-2), self.bins, strict=True)
        ]

    def _presence(self, output: Tensor) -> Tensor:
        """(batch, keypoints) mean of the axes' logsumexp."""
        totals = [torch.logsumexp(logits, -1) for logits in self._apart(output)]
        return torch.stack(totals).sum(0) / len(totals)


def _outer_product(maps: Tensor, along: Tensor) -> Tensor:
    """(batch, keypoints, n, *size) products of (batch, keypoints, *size) and (…, n)."""
    return along.reshape(*along.shape, *[1] * (maps.ndim - 2)) * maps[:, :, None]
