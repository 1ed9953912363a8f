"""The mean place of a map: soft-argmax, differentiable from keypoint to pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from placewise.errors import SettingsError
from placewise.gathering import Gathering
from placewise.geometry import Size, to_image
from placewise.heads import Decoded
from placewise.heads._gathered import KeypointGathering
from placewise.heads._maps import MapHead, profiles, uncertainty
from placewise.labels import Visibility
from placewise.losses import certain, gaussians, normalised, presence, presence_loss, softmax


class Integral(MapHead):
    """Soft-argmax: the keypoint is the mean place of softmax(z), p = Σ softmax(z) · place.

    Trained as DSNT (Nibali et al. 2018, arXiv 1801.07372): Euclidean distance of the mean place to
    the truth, in pixels of the map, plus the Jensen–Shannon divergence of the map from a Gaussian
    about the truth. Whether a keypoint is there at all is read from logsumexp(z), which the
    softmax leaves free.

    Next to the border a mean is pulled inwards, by about 0.8 σ on the very edge, for it sees one
    half of the Gaussian alone.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features; None: the model says it.
        input_size: size of the training images in pixels; not needed here.
        spatial_dims: axes of an image; None: as many as the input size has, or else 2.
        sigma: standard deviation in map pixels of the Gaussian that maps are drawn towards.
        shape: weight of the Jensen–Shannon divergence.
        finer: map pixels for one pixel of the features, per axis.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> head = Integral(8, keypoints=2, stride=4)
        >>> head.decode(head(torch.zeros(1, 8, 4, 4)), (16, 16)).keypoints[0, 0].tolist()
        [7.5, 7.5]
    """

    exact_at_border = False

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None = None,
        input_size: Sequence[int] | None = None,
        spatial_dims: int | None = None,
        *,
        sigma: float = 1.5,
        shape: float = 1.0,
        finer: int = 2,
    ) -> None:
        super().__init__(
            in_channels, keypoints, stride, input_size, spatial_dims, sigma=sigma, finer=finer
        )
        if shape < 0:
            raise SettingsError(f"shape is {shape}; it is a weight and must be 0 or more")
        self.shape = shape

    def loss(self, output: Tensor, keypoints: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        truth = torch.where(located[..., None], keypoints, 0.0)
        maps, stride = softmax(output), self.map_stride[::-1]
        logs = self.logs(keypoints, visibility, self.image_size(output))
        away = (to_image(_mean_place(maps), stride) - truth) / truth.new_tensor(stride)
        apart = _jensen_shannon(maps, normalised(gaussians(logs)))
        placed = away.norm(dim=-1) + self.shape * apart
        losses: Tensor = placed * located + presence_loss(presence(output), visibility)
        return losses

    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """Logits of the Gaussian that maps are drawn towards; see `KeypointHead.encode`."""
        return certain(self.logs(keypoints, visibility, size), visibility)

    def decode(self, output: Tensor, size: Size) -> Decoded:
        """Keypoints off the maps; see `KeypointHead.decode`."""
        logits, stride = self.on_image(output.float(), size), self.map_stride[::-1]
        maps = softmax(logits)
        points = _mean_place(maps)
        return Decoded(
            to_image(points, stride),
            torch.sigmoid(presence(logits)),
            uncertainty(maps, points, stride),
        )

    def gathering(self, size: Size) -> Gathering[Decoded]:
        """The same tile by tile: sums of a softmax can be joined; see `KeypointHead.gathering`."""
        return KeypointGathering(
            self.keypoints,
            self.touched(size),
            self.map_stride,
            lambda logits, total: (logits - total).exp(),
            lambda top, total: torch.sigmoid(total),
            None,
        )


def _mean_place(maps: Tensor) -> Tensor:
    """(batch, keypoints, axes) mean (x, y, …) of distributions over the pixels of a map."""
    means = [
        (along * torch.arange(along.shape[-1], device=maps.device, dtype=maps.dtype)).sum(-1)
        for along in profiles(maps)
    ]
    return torch.stack(means, -1)


def _jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """½ KL(p‖m) + ½ KL(q‖m) with m = (p + q) / 2, summed over the pixels; at most ln 2."""
    middle, axes = 0.5 * (first + second), tuple(range(2, first.ndim))

    def divergence(part: Tensor) -> Tensor:
        ratio = part.clamp_min(1e-12).log() - middle.clamp_min(1e-12).log()
        return (part * ratio).sum(axes)

    return 0.5 * (divergence(first) + divergence(second))
