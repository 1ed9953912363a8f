"""Two classifications for each point: in which column it is, and in which row."""

from __future__ import annotations

import math

import torch
from torch import nn

from placewise.decoders import DECODERS
from placewise.errors import SettingsError
from placewise.geometry import to_image, to_map
from placewise.heads import Decoded, KeypointHead
from placewise.heads._maps import CERTAIN, FAR, check_size, fixed_size, presence_loss, spreads
from placewise.labels import Visibility


class SimCC(KeypointHead):
    """Each coordinate is a class: bins along x and bins along y, finer than pixels.

    A 1×1 convolution gives one map for each point; flattened, it goes through two fully connected
    layers that all points share, to logits of the columns' and of the rows' bins. Each axis is
    trained by cross-entropy with G / ΣG, G = exp(−d² / 2σ²) at the bins' centres, which is the
    Kullback–Leibler divergence but for a constant (Li et al. 2022, arXiv 2107.03332). Whether a
    point is there at all is read from the mean of both logsumexp(z), which a softmax leaves free.

    The two distributions make a map, p(x) · p(y), which a decoder reads. The paper takes the
    hottest bins, `decoder="argmax"`, at best a quarter of a bin off on average; the usual decoder
    here is that of heatmaps, so that heads may be compared and not decoders.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features.
        input_size: (height, width) of the training images in pixels; the head is tied to it.
        sigma: standard deviation of the soft labels in pixels of the image.
        finer: bins for one pixel of the image, per axis.
        decoder: member of `DECODERS` that reads the keypoints.

    Example:
        >>> head = SimCC(8, 2, 4, (16, 24), finer=2)
        >>> head(torch.rand(1, 8, 4, 6)).shape  # 48 bins along x and 32 along y
        torch.Size([1, 2, 80])
    """

    any_size = False
    crops = False
    stride: int
    input_size: tuple[int, int]

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | None = None,
        input_size: tuple[int, int] | None = None,
        *,
        sigma: float = 1.5,
        finer: int = 2,
        decoder: str = "integral",
    ) -> None:
        super().__init__()
        if finer < 1:
            raise SettingsError(f"finer is {finer}; it must be 1 or more")
        if not 0.3 <= sigma * finer <= 20:
            raise SettingsError(
                f"sigma is {sigma * finer:g} bins ({sigma:g} px); it must be between 0.3 and 20"
            )
        self.sigma, self.finer = sigma, finer
        self.decoder = DECODERS[decoder]()
        self.stride, self.input_size = fixed_size("simcc", stride, input_size)
        places = math.prod(-(-side // self.stride) for side in self.input_size)
        self.maps = nn.Conv2d(in_channels, keypoints, 1)
        self.columns, self.rows = (
            nn.Linear(places, side * finer) for side in self.input_size[::-1]
        )
        for layer in (self.columns, self.rows):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, -math.log(layer.out_features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, keypoints, columns + rows) logits: the bins along x, then those along y."""
        check_size(features, self.stride, self.input_size)
        vectors = self.maps(features).flatten(2)
        return torch.cat((self.columns(vectors), self.rows(vectors)), -1)

    def loss(
        self, output: torch.Tensor, keypoints: torch.Tensor, visibility: torch.Tensor
    ) -> torch.Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        truth = torch.where(located[..., None], keypoints, 0.0)
        classified = sum(
            torch.logsumexp(logits, -1)
            - (torch.softmax(self._labels(place, logits), -1) * logits).sum(-1)
            for logits, place in zip(self._axes(output), truth.unbind(-1), strict=True)
        )
        losses: torch.Tensor = classified * located + presence_loss(
            self._presence(output), visibility
        )
        return losses

    def encode(
        self, keypoints: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Logits of the soft labels themselves; see `KeypointHead.encode`."""
        located = torch.where((visibility >= Visibility.HIDDEN)[..., None], keypoints, torch.nan)
        empty = keypoints.new_empty(*visibility.shape, self.finer * sum(self.input_size))
        logs = [
            self._labels(place, logits)
            for logits, place in zip(self._axes(empty), located.unbind(-1), strict=True)
        ]
        return torch.cat(logs, -1) + CERTAIN * (visibility >= Visibility.HIDDEN)[..., None]

    def decode(self, output: torch.Tensor, size: tuple[int, int]) -> Decoded:
        """Keypoints off the map p(x) · p(y); see `KeypointHead.decode`."""
        columns, rows = (
            torch.softmax(logits[..., : side * self.finer], -1)
            for logits, side in zip(self._axes(output.float()), size[::-1], strict=True)
        )
        heat = rows[..., :, None] * columns[..., None, :]
        points = self.decoder(heat)
        return Decoded(
            to_image(points, 1 / self.finer),
            torch.sigmoid(self._presence(output.float())),
            spreads(heat, points, 1) / self.finer,
        )

    def _axes(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the columns' and of the rows' bins."""
        border = self.input_size[1] * self.finer
        return output[..., :border], output[..., border:]

    def _labels(self, places: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Logarithm of the Gaussian about each place along an axis, at the centres of its bins.

        Args:
            places: (...) in pixels of the image; NaN gives empty bins.
            logits: (..., bins), for their number.
        """
        bins = torch.arange(logits.shape[-1], device=places.device, dtype=places.dtype)
        away = (bins - to_map(places, 1 / self.finer)[..., None]) / (self.sigma * self.finer)
        return (-0.5 * away**2).nan_to_num(nan=FAR).clamp_min(FAR)

    def _presence(self, output: torch.Tensor) -> torch.Tensor:
        columns, rows = self._axes(output)
        return 0.5 * (torch.logsumexp(columns, -1) + torch.logsumexp(rows, -1))
