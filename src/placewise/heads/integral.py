"""The mean place of a map: soft-argmax, differentiable from keypoint to pixel."""

from __future__ import annotations

import torch

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
    presence_loss,
    softmax,
    spreads,
)
from placewise.labels import Visibility


class Integral(MapHead):
    """Soft-argmax: the keypoint is the mean place of softmax(z), p = Σ softmax(z) · place.

    Trained as DSNT (Nibali et al. 2018, arXiv 1801.07372): Euclidean distance of the mean place to
    the truth, in pixels of the map, plus the Jensen–Shannon divergence of the map from a Gaussian
    about the truth. Whether a point is there at all is read from logsumexp(z), which the softmax
    leaves free.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features; None: the model says it.
        input_size: (height, width) of the training images in pixels; not needed here.
        sigma: standard deviation in map pixels of the Gaussian that maps are drawn towards.
        shape: weight of the Jensen–Shannon divergence.
        finer: map pixels for one pixel of the features, per axis.

    Example:
        >>> head = Integral(8, 2, 4, (16, 16))
        >>> head.decode(head(torch.zeros(1, 8, 4, 4)), (16, 16)).keypoints[0, 0].tolist()
        [7.5, 7.5]
    """

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | None = None,
        input_size: tuple[int, int] | None = None,
        *,
        sigma: float = 1.5,
        shape: float = 1.0,
        finer: int = 2,
    ) -> None:
        super().__init__(in_channels, keypoints, stride, input_size, sigma=sigma, finer=finer)
        if shape < 0:
            raise SettingsError(f"shape is {shape}; it is a weight and must be 0 or more")
        self.shape = shape

    def loss(
        self, output: torch.Tensor, keypoints: torch.Tensor, visibility: torch.Tensor
    ) -> torch.Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        truth = torch.where(located[..., None], keypoints, 0.0)
        maps = softmax(output)
        target = normalised(
            gaussian_maps(truth, (maps.shape[-2], maps.shape[-1]), self.map_stride, self.sigma)
        )
        distance = (to_image(_mean_place(maps), self.map_stride) - truth).norm(
            dim=-1
        ) / self.map_stride
        placed = distance + self.shape * _jensen_shannon(maps, target)
        losses: torch.Tensor = placed * located + presence_loss(_presence(output), visibility)
        return losses

    def encode(
        self, keypoints: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Logits of the Gaussian that maps are drawn towards; see `KeypointHead.encode`."""
        logs = log_soft_labels(keypoints, visibility, size, self.map_stride, self.sigma)
        return logs + CERTAIN * (visibility >= Visibility.HIDDEN)[..., None, None]

    def decode(self, output: torch.Tensor, size: tuple[int, int]) -> Decoded:
        """Keypoints off the maps; see `KeypointHead.decode`."""
        logits = on_image(output.float(), size, self.map_stride)
        maps = softmax(logits)
        points = _mean_place(maps)
        return Decoded(
            to_image(points, self.map_stride),
            torch.sigmoid(_presence(logits)),
            spreads(maps, points, self.map_stride),
        )


def _presence(logits: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(logits.flatten(-2), -1)


def _mean_place(maps: torch.Tensor) -> torch.Tensor:
    """(..., 2) mean (x, y) of distributions over the places of a map."""
    columns = torch.arange(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    rows = torch.arange(maps.shape[-2], device=maps.device, dtype=maps.dtype)
    return torch.stack(((maps.sum(-2) * columns).sum(-1), (maps.sum(-1) * rows).sum(-1)), -1)


def _jensen_shannon(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """½ KL(p‖m) + ½ KL(q‖m) with m = (p + q) / 2, summed over the places; at most ln 2."""
    middle = 0.5 * (first + second)

    def divergence(part: torch.Tensor) -> torch.Tensor:
        ratio = part.clamp_min(1e-12).log() - middle.clamp_min(1e-12).log()
        return (part * ratio).sum((-2, -1))

    return 0.5 * (divergence(first) + divergence(second))
