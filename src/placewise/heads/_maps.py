"""What heads that read keypoints off maps share: targets, scores and spreads."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.geometry import to_map
from placewise.heads import KeypointHead
from placewise.labels import Visibility

FAR = -80.0
"""Logarithm of a Gaussian that is as good as nothing."""

CERTAIN = 10.0
"""Logit by which an ideal map says that its point is there."""

FAINT = 0.1
"""Share of the peak's heat below which a place does not count for the spread."""


class Maps(nn.Module):
    """One map of logits for each point, finer than the features by pixel shuffle.

    A 1×1 convolution gives `finer²` values for each point and place, which are then laid out as a
    `finer` times larger map. So maps of stride 2 cost what features of stride 4 cost.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        finer: map pixels for one pixel of the features, per axis.

    Example:
        >>> Maps(8, 3, finer=2)(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 3, 10, 12])
    """

    def __init__(self, in_channels: int, keypoints: int, *, finer: int) -> None:
        super().__init__()
        self.finer = finer
        self.values = nn.Conv2d(in_channels, keypoints * finer**2, 1)
        nn.init.normal_(self.values.weight, std=0.01)
        nn.init.zeros_(self.values.bias)  # type: ignore[arg-type]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, keypoints, finer · height, finer · width) logits."""
        return functional.pixel_shuffle(self.values(features), self.finer)


class MapHead(KeypointHead):
    """A head whose output is one map of logits for each keypoint.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features; None: the model says it.
        input_size: (height, width) in pixels of the training images, where it is known.
        sigma: standard deviation of the Gaussian about each keypoint, in pixels of the map.
        finer: map pixels for one pixel of the features, per axis.
    """

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | None,
        input_size: tuple[int, int] | None,
        *,
        sigma: float,
        finer: int,
    ) -> None:
        super().__init__()
        if not 0.3 <= sigma <= 20:
            raise SettingsError(f"sigma is {sigma} map pixels; it must be between 0.3 and 20")
        if finer < 1:
            raise SettingsError(f"finer is {finer}; it must be 1 or more")
        self.sigma, self.finer, self.input_size = sigma, finer, input_size
        if stride is not None:
            self.attach(stride, input_size)
        self.maps = Maps(in_channels, keypoints, finer=finer)

    def attach(self, stride: int, input_size: tuple[int, int] | None = None) -> None:
        """See `KeypointHead.attach`."""
        if stride % self.finer:
            raise SettingsError(
                f"finer is {self.finer}; it must divide the stride of the features, which is "
                f"{stride}"
            )
        super().attach(stride, input_size)

    @property
    def map_stride(self) -> int:
        """Image pixels for one pixel of the maps."""
        if self.stride is None:
            raise SettingsError(
                "the head does not know the stride of the features that it reads; join it with a "
                "backbone in a KeypointModel, or build it with stride=…"
            )
        return self.stride // self.finer

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, keypoints, height, width)."""
        logits: torch.Tensor = self.maps(features)
        return logits


def fixed_size(
    head: str, stride: int | None, input_size: tuple[int, int] | None
) -> tuple[int, tuple[int, int]]:
    """Stride and input size for a head that is tied to them.

    Raises:
        SettingsError: one of them is not known.

    Example:
        >>> fixed_size("simcc", 4, (32, 64))
        (4, (32, 64))
    """
    if stride is None or input_size is None:
        raise SettingsError(
            f"the head '{head}' got stride {stride} and input size {input_size}; its weights "
            "depend on both. Build it with stride=… and input_size=(height, width), or use the "
            "head 'heatmap', which needs neither"
        )
    return stride, input_size


def check_size(
    features: torch.Tensor, stride: int | None, input_size: tuple[int, int] | None
) -> None:
    """Refuse features of images of another size than the one that a head was built for.

    Raises:
        SettingsError: says what was got and what is expected.
    """
    known, sides = fixed_size("", stride, input_size)
    got = tuple(side * known for side in features.shape[2:])
    if got != tuple(-(-side // known) * known for side in sides):
        raise SettingsError(
            f"this head flattens the features of {sides[1]}×{sides[0]} px images, and each place "
            f"has its own weights; it got an image of {'×'.join(map(str, got[::-1]))} px. Bring "
            "the images to that size, or train with the head 'heatmap', which takes any size"
        )


def on_image(maps: torch.Tensor, size: tuple[int, int], stride: int) -> torch.Tensor:
    """The part of the maps whose pixels touch the image, so that no keypoint lands in the padding.

    Args:
        maps: (..., height, width).
        size: (height, width) of the image in pixels.
        stride: image pixels for one pixel of the map.
    """
    height, width = (-(-side // stride) for side in size)
    return maps[..., :height, :width]


def softmax(logits: torch.Tensor) -> torch.Tensor:
    """Softmax over the places of each map."""
    return torch.softmax(logits.flatten(-2), -1).view_as(logits)


def gaussian_maps(
    points: torch.Tensor, size: tuple[int, int], stride: int, sigma: float
) -> torch.Tensor:
    """Gaussian soft labels exp(−d² / 2σ²) about each point, sampled at the map's pixel centres.

    Args:
        points: (..., 2) in pixels of the image; NaN gives an empty map.
        size: (height, width) of the map.
        stride: image pixels for one pixel of the map.
        sigma: standard deviation in pixels of the map.

    Returns:
        (..., height, width) in 0..1; the peak is 1 where the point is on a pixel's centre.

    Example:
        >>> gaussian_maps(torch.tensor([[0.5, 0.5]]), (1, 3), 2, 1.0)
        tensor([[[1.0000, 0.6065, 0.1353]]])
    """
    logs = log_gaussian_maps(points, size, stride, sigma)
    return torch.where(logs > FAR, logs.exp(), 0.0)


def log_gaussian_maps(
    points: torch.Tensor, size: tuple[int, int], stride: int, sigma: float
) -> torch.Tensor:
    """Logarithm of `gaussian_maps`, cut off at −80 where the Gaussian is as good as nothing.

    Example:
        >>> log_gaussian_maps(torch.tensor([[0.5, 0.5]]), (1, 3), 2, 1.0)[0, 0, 1:]
        tensor([-0.5000, -2.0000])
    """
    centres = to_map(points, stride)
    columns = torch.arange(size[1], device=points.device, dtype=points.dtype)
    rows = torch.arange(size[0], device=points.device, dtype=points.dtype)
    across = -0.5 * ((columns - centres[..., 0:1]) / sigma) ** 2
    down = -0.5 * ((rows - centres[..., 1:2]) / sigma) ** 2
    return (down[..., :, None] + across[..., None, :]).nan_to_num(nan=FAR).clamp_min(FAR)


def log_soft_labels(
    points: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int], stride: int, sigma: float
) -> torch.Tensor:
    """`log_gaussian_maps` of the located points over an image; the maps of others are empty.

    Args:
        points: (..., 2) in pixels of the image.
        visibility: (...) of `Visibility`.
        size: (height, width) of the image in pixels, multiples of the stride.
        stride: image pixels for one pixel of the map.
        sigma: standard deviation in pixels of the map.

    Example:
        >>> visibility = torch.tensor([Visibility.HIDDEN, Visibility.ABSENT])
        >>> log_soft_labels(torch.full((2, 2), 1.5), visibility, (2, 4), 2, 1.0).tolist()
        [[[-0.25, -0.25]], [[-80.0, -80.0]]]
    """
    located = torch.where((visibility >= Visibility.HIDDEN)[..., None], points, torch.nan)
    return log_gaussian_maps(located, (size[0] // stride, size[1] // stride), stride, sigma)


def normalised(maps: torch.Tensor) -> torch.Tensor:
    """Maps divided by their sum over the places, so that each is a distribution.

    Example:
        >>> normalised(torch.tensor([[[1.0, 3.0]]]))
        tensor([[[0.2500, 0.7500]]])
    """
    return maps / maps.sum((-2, -1), keepdim=True).clamp_min(1e-12)


def spreads(maps: torch.Tensor, points: torch.Tensor, stride: int) -> torch.Tensor:
    """Root mean squared distance of a map's heat from its keypoint, in pixels of the image.

    A second peak far away makes it large: the map itself says that it is undecided. Heat below a
    tenth of the peak is background and does not count. It is at least half a pixel of the map,
    which is as much as a map that is hot at one pixel alone can say.

    Args:
        maps: (..., height, width) heat ≥ 0.
        points: (..., 2) in pixels of the map.
        stride: image pixels for one pixel of the map.

    Example:
        >>> spreads(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([1.0, 0.0]), 4)
        tensor(2.)
    """
    heat = maps * (maps >= FAINT * maps.amax((-2, -1), keepdim=True))
    weights = normalised(heat)
    columns = torch.arange(maps.shape[-1], device=maps.device, dtype=maps.dtype)
    rows = torch.arange(maps.shape[-2], device=maps.device, dtype=maps.dtype)
    across = (weights.sum(-2) * (columns - points[..., 0:1]) ** 2).sum(-1)
    down = (weights.sum(-1) * (rows - points[..., 1:2]) ** 2).sum(-1)
    return (across + down).sqrt().clamp_min(0.5) * stride


def presence_loss(logits: torch.Tensor, visibility: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of "the point is on the image"; 0 where not labelled.

    Args:
        logits: (batch, keypoints).
        visibility: (batch, keypoints) of `Visibility`.
    """
    target = (visibility >= Visibility.HIDDEN).to(logits.dtype)
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss * (visibility != Visibility.UNLABELLED)
