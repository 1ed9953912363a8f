"""One map for each point: the keypoint is where the map is hot."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from placewise.decoders import DECODERS
from placewise.errors import SettingsError
from placewise.geometry import to_image
from placewise.heads import Decoded
from placewise.heads._maps import (
    CERTAIN,
    MapHead,
    gaussian_maps,
    log_soft_labels,
    normalised,
    on_image,
    softmax,
    spreads,
)
from placewise.labels import Visibility

Loss = Literal["cross_entropy", "mse", "softmax", "joint"]

PLACES = 64.0**2
"""Pixels of a map that are assumed where the size of the images is not known."""

RARE = -4.0
"""Logit that the sigmoid's maps begin with: nearly every pixel of every map is cold."""


class Heatmap(MapHead):
    """One map for each point, trained on Gaussian soft labels G = exp(−d² / 2σ²).

    | loss | what is compared | can say "absent" |
    |---|---|---|
    | `cross_entropy` | sigmoid of each pixel with G, cross-entropy summed over the map | yes |
    | `mse` | each pixel with G, squared error summed over the map | yes |
    | `softmax` | one softmax over the places of a map with G / ΣG | no |
    | `joint` | one softmax over the places *and* one more answer, "absent" | yes |

    In `joint` the answer "absent" has the fixed logit 0, so P(absent) = 1 / (1 + Σ exp z): one
    distribution says where the point is and whether it is there at all.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features; None: the model says it.
        input_size: (height, width) of the training images in pixels; with `joint` a keypoint is
            then as likely absent as present to begin with.
        loss: see the table.
        sigma: standard deviation of the soft labels in pixels of the map.
        decoder: member of `DECODERS` that reads the keypoints.
        finer: map pixels for one pixel of the features, per axis.

    Example:
        >>> head = Heatmap(8, 2, 4, (16, 16), sigma=1.5)
        >>> head.decode(head(torch.rand(1, 8, 4, 4)), (16, 16)).keypoints.shape
        torch.Size([1, 2, 2])
    """

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | None = None,
        input_size: tuple[int, int] | None = None,
        *,
        loss: Loss = "joint",
        sigma: float = 1.5,
        decoder: str = "integral",
        finer: int = 2,
    ) -> None:
        super().__init__(in_channels, keypoints, stride, input_size, sigma=sigma, finer=finer)
        if loss not in get_args(Loss):
            raise SettingsError(f"loss is '{loss}'; it must be one of {', '.join(get_args(Loss))}")
        self.kind, self.can_say_absent = loss, loss != "softmax"
        self.decoder = DECODERS[decoder]()
        places = PLACES
        if self.stride and input_size:
            places = input_size[0] * input_size[1] / self.map_stride**2
        first = {"cross_entropy": RARE, "joint": -math.log(places)}.get(loss, 0.0)
        nn.init.constant_(self.maps.values.bias, first)  # type: ignore[arg-type]

    def loss(
        self, output: torch.Tensor, keypoints: torch.Tensor, visibility: torch.Tensor
    ) -> torch.Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        drawn = torch.where(located[..., None], keypoints, torch.nan)
        size = (output.shape[-2], output.shape[-1])
        target = gaussian_maps(drawn, size, self.map_stride, self.sigma)
        if self.kind == "cross_entropy":
            pixels = functional.binary_cross_entropy_with_logits(output, target, reduction="none")
            return pixels.sum((-2, -1)) * (visibility != Visibility.UNLABELLED)
        if self.kind == "mse":
            return (output - target).square().sum((-2, -1)) * (visibility != Visibility.UNLABELLED)
        flat, places = output.flatten(-2), normalised(target).flatten(-2)
        answer = (places * flat).sum(-1)
        if self.kind == "softmax":
            return (torch.logsumexp(flat, -1) - answer) * located
        anywhere = functional.softplus(torch.logsumexp(flat, -1))
        return (anywhere - answer) * (visibility != Visibility.UNLABELLED)

    def encode(
        self, keypoints: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Logits of the soft labels themselves; see `KeypointHead.encode`."""
        logs = log_soft_labels(keypoints, visibility, size, self.map_stride, self.sigma)
        if self.kind == "mse":
            return logs.exp()
        if self.kind == "cross_entropy":
            return logs - torch.log1p(-logs.exp().clamp_max(1 - 1e-6))
        return logs + CERTAIN * (visibility >= Visibility.HIDDEN)[..., None, None]

    def decode(self, output: torch.Tensor, size: tuple[int, int]) -> Decoded:
        """Keypoints off the maps; see `KeypointHead.decode`."""
        logits = on_image(output.float(), size, self.map_stride)
        heat, scores = self._heat(logits)
        points = self.decoder(heat)
        return Decoded(
            to_image(points, self.map_stride), scores, spreads(heat, points, self.map_stride)
        )

    def _heat(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heat ≥ 0 with the shape of the soft labels, and the probability of being there."""
        if self.kind == "cross_entropy":
            heat = torch.sigmoid(logits)
            return heat, heat.amax((-2, -1))
        if self.kind == "mse":
            heat = logits.clamp_min(1e-6)
            return heat, heat.amax((-2, -1)).clamp_max(1.0)
        heat = softmax(logits)
        if self.kind == "softmax":
            return heat, torch.ones_like(heat[..., 0, 0])
        return heat, torch.sigmoid(torch.logsumexp(logits.flatten(-2), -1))
