"""What heads share that read keypoints off maps, that tell of every pixel, and that flatten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError, ShapeError
from placewise.family import Setting
from placewise.geometry import Size, from_cells
from placewise.heads import GridHead, Head, KeypointHead, check_features
from placewise.losses import log_gaussians, normalised

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

FAINT = 0.1
"""Share of the peak's heat below which a pixel does not count for the uncertainty."""


class Maps(nn.Module):
    """One map of logits for each keypoint, finer than the features.

    A 1×1 convolution gives `finer^axes` values for each keypoint and pixel, which are then laid
    out as a `finer` times larger map. So maps of stride 2 cost what features of stride 4 cost.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        spatial_dims: axes of the features.
        finer: map pixels for one pixel of the features, per axis.

    Example:
        >>> Maps(8, 3, spatial_dims=2, finer=2)(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 3, 10, 12])
    """

    def __init__(self, in_channels: int, keypoints: int, *, spatial_dims: int, finer: int) -> None:
        super().__init__()
        self.finer = finer
        convolution = CONVOLUTIONS[spatial_dims - 1]
        self.values = convolution(in_channels, keypoints * finer**spatial_dims, 1)
        nn.init.normal_(self.values.weight, std=0.01)
        nn.init.zeros_(self.values.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(batch, keypoints, *finer · size) logits."""
        return from_cells(self.values(features), self.finer)


class DenseHead(Head):
    """A head whose maps say something of every pixel, on images of any size.

    Args:
        in_channels: channels of the features.
        count: number of maps.
        stride: image pixels for one pixel of the features, along each axis.
        spatial_dims: axes of an image.
        map_stride: image pixels for one pixel of the maps; it must divide the stride of the
            features.

    Raises:
        SettingsError: it does not.
    """

    pointwise = True

    def __init__(
        self, in_channels: int, count: int, stride: int, spatial_dims: int, map_stride: int
    ) -> None:
        super().__init__()
        if map_stride < 1 or stride % map_stride:
            raise SettingsError(
                f"map_stride is {map_stride}; it must divide the stride of the features, which is "
                f"{stride}"
            )
        self.in_channels, self.spatial_dims = in_channels, spatial_dims
        self.stride, self.map_stride = stride, map_stride
        self.maps = Maps(in_channels, count, spatial_dims=spatial_dims, finer=stride // map_stride)

    @classmethod
    def on(cls, backbone: Any, count: int, size: Size, settings: Mapping[str, Setting]) -> Self:
        """Built with stride and axes of the backbone; see `Head.on`."""
        made: Any = cls
        axes = getattr(backbone, "spatial_dims", 2)
        built: Self = made(backbone.out_channels, count, backbone.stride, axes, **settings)
        return built

    def begin(self, first: Tensor) -> None:
        """Set what the maps say before training.

        Args:
            first: (count,) logit of each map.
        """
        cells = self.maps.finer**self.spatial_dims
        with torch.no_grad():
            self.maps.values.bias.copy_(first.repeat_interleave(cells))  # type: ignore[union-attr]

    def forward(self, features: Tensor) -> Tensor:
        """(batch, count, *map) of features (batch, in_channels, *size)."""
        check_features(features, self.in_channels, self.spatial_dims)
        maps: Tensor = self.maps(features)
        return maps


class MapGrid(GridHead):
    """A head whose maps are finer than its features.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: see `GridHead`.
        input_size: see `GridHead`.
        spatial_dims: see `GridHead`.
        sigma: standard deviation of the Gaussian about each keypoint, in pixels of the map.
        finer: map pixels for one pixel of the features, per axis.
    """

    pointwise = True

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None,
        input_size: Sequence[int] | None,
        spatial_dims: int | None,
        *,
        sigma: float,
        finer: int,
    ) -> None:
        if not 0.3 <= sigma <= 20:
            raise SettingsError(f"sigma is {sigma} map pixels; it must be between 0.3 and 20")
        if finer < 1:
            raise SettingsError(f"finer is {finer}; it must be 1 or more")
        super().__init__(in_channels, keypoints, None, input_size, spatial_dims)
        self.sigma, self.finer = sigma, finer
        self.attach(stride)

    def attach(
        self, stride: int | Sequence[int] | None, input_size: Sequence[int] | None = None
    ) -> None:
        """See `GridHead.attach`."""
        super().attach(stride, input_size)
        if self.stride is not None and any(step % self.finer for step in self.stride):
            raise SettingsError(
                f"finer is {self.finer}; it must divide the stride of the features, which is "
                f"{stride}"
            )

    @property
    def map_stride(self) -> Size:
        """Image pixels for one pixel of the maps, for each axis."""
        if self.stride is None:
            raise SettingsError(
                "the head does not know the stride of the features that it reads; join it with a "
                "backbone in a KeypointModel, or build it with stride=…"
            )
        return tuple(step // self.finer for step in self.stride)

    def image_size(self, maps: Tensor) -> Size:
        """Size in pixels of the images that maps (batch, keypoints, *map) belong to."""
        sides = zip(maps.shape[2:], self.map_stride, strict=True)
        return tuple(side * step for side, step in sides)

    def known_on_maps(self, known: Tensor) -> Tensor:
        """What is known of each pixel of the maps: of all image pixels that it covers.

        Args:
            known: (batch, maps, *size) 1 where something is known; *size is that of the image, or 1
                along each axis.
        """
        if all(side == 1 for side in known.shape[2:]):
            return known.float()
        pool = (nn.functional.max_pool1d, nn.functional.max_pool2d, nn.functional.max_pool3d)
        return 1 - pool[self.spatial_dims - 1](1 - known.float(), self.map_stride)

    def touched(self, size: Size) -> Size:
        """Pixels of the maps that touch an image of this size, for each axis."""
        sides = zip(size, self.map_stride, strict=True)
        return tuple((side + step - 1) // step for side, step in sides)

    def on_image(self, maps: Tensor, size: Size) -> Tensor:
        """The part of the maps whose pixels touch an image of this size: not its padding."""
        for axis, count in enumerate(self.touched(size), 2):
            maps = maps.narrow(axis, 0, min(count, maps.shape[axis]))
        return maps


class MapHead(MapGrid, KeypointHead):
    """A head whose output is one map of logits for each keypoint; see `MapGrid`."""

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None,
        input_size: Sequence[int] | None,
        spatial_dims: int | None,
        *,
        sigma: float,
        finer: int,
    ) -> None:
        super().__init__(
            in_channels, keypoints, stride, input_size, spatial_dims, sigma=sigma, finer=finer
        )
        self.maps = Maps(in_channels, keypoints, spatial_dims=self.spatial_dims, finer=finer)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, keypoints, *map) logits of features (batch, in_channels, *size)."""
        self.check(features)
        logits: Tensor = self.maps(features)
        return logits

    def logs(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """(batch, keypoints, *map) log-Gaussians about the keypoints of images of this size."""
        maps = tuple(side // step for side, step in zip(size, self.map_stride, strict=True))
        stride = self.map_stride[::-1]
        return log_gaussians(keypoints, visibility, maps, stride, self.sigma)


def fixed_size(
    head: str, stride: int | Sequence[int] | None, input_size: Sequence[int] | None
) -> None:
    """Refuse to build a head that is tied to one size without knowing it.

    Raises:
        SettingsError: stride or input size are not known.
    """
    if stride is None or input_size is None:
        raise SettingsError(
            f"the head '{head}' got stride {stride} and input size {input_size}; its weights "
            "depend on both. Build it with stride=… and input_size=(height, width), or use the "
            "head 'heatmap', which needs neither"
        )


def check_size(features: Tensor, head: KeypointHead) -> None:
    """Refuse features of images of another size than the one that a head was built for.

    Raises:
        ShapeError: says what was got and what is expected.
    """
    stride, sides = head.stride or (), head.input_size or ()
    got = [side * step for side, step in zip(features.shape[2:], stride, strict=True)]
    if got != [-(-side // step) * step for side, step in zip(sides, stride, strict=True)]:
        raise ShapeError(
            f"this head flattens the features of {times(sides)} px images, and each place has its "
            f"own weights; it got an image of {times(got)} px. Bring the images to that size, or "
            "train with the head 'heatmap', which takes any size"
        )


def times(sides: Sequence[int]) -> str:
    """Width × height, as one says it."""
    return "×".join(map(str, sides[::-1]))


def uncertainty(maps: Tensor, keypoints: Tensor, stride: Sequence[float]) -> Tensor:
    """Root mean squared distance of a map's heat from its keypoint, in pixels of the image.

    A second peak far away makes it large: the map itself says that it is undecided. Heat below a
    tenth of the peak is background and does not count. It is at least half a pixel of the map,
    which is as much as a map that is hot at one pixel alone can say.

    Args:
        maps: (batch, keypoints, *size) heat, 0 or more.
        keypoints: (batch, keypoints, axes) of (x, y, …) in pixels of the map.
        stride: image pixels for one pixel of the map, (x, y, …).

    Example:
        >>> uncertainty(torch.tensor([[[[0.0, 1.0, 0.0]]]]), torch.tensor([[[1.0, 0.0]]]), (4, 4))
        tensor([[2.]])
    """
    axes = tuple(range(2, maps.ndim))
    heat = maps * (maps >= FAINT * maps.amax(axes, keepdim=True))
    squared = maps.new_zeros(())
    for axis, (profile, step) in enumerate(zip(profiles(normalised(heat)), stride, strict=True)):
        places = torch.arange(profile.shape[-1], device=maps.device, dtype=maps.dtype)
        away = (places - keypoints[..., axis, None]) * step
        squared = squared + (profile * away**2).sum(-1)
    return squared.sqrt().clamp_min(0.5 * min(stride))


def profiles(maps: Tensor) -> list[Tensor]:
    """Sums of maps (batch, keypoints, *size) over all axes but one, along x first."""
    axes = range(maps.ndim - 1, 1, -1)
    over = [tuple(other for other in axes if other != axis) for axis in axes]
    return [maps.sum(others) if others else maps for others in over]
