"""One map for each class: what each pixel is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.family import Setting
from placewise.geometry import Size
from placewise.heads import Head, check_features
from placewise.heads._maps import Maps
from placewise.mask_losses import MASK_LOSSES, MaskLoss

RARE = 0.1
"""Share of the pixels that a class is taken to have at first."""


class Masks(Head):
    """A map of logits for each class, finer than the features, on images of any size.

    One class has one map, which a sigmoid reads; several have one each and one for the background,
    which a softmax reads.

    Args:
        in_channels: channels of the features.
        classes: number of classes, without the background.
        stride: image pixels for one pixel of the features, along each axis.
        spatial_dims: axes of an image.
        loss: member of `MASK_LOSSES`, or a loss.
        map_stride: image pixels for one pixel of the maps: 1 or 2 for things a few pixels wide; it
            must divide the stride of the features. 0: 1 if that can be.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> head = Masks(8, classes=2, stride=4)
        >>> head(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 3, 20, 24])
    """

    task = "masks"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        stride: int = 4,
        spatial_dims: int = 2,
        *,
        loss: str | MaskLoss = "bce_dice",
        map_stride: int = 1,
    ) -> None:
        super().__init__()
        if in_channels < 1 or classes < 1:
            raise SettingsError(
                f"in_channels is {in_channels} and classes is {classes}; both must be 1 or more"
            )
        if map_stride < 1 or stride % map_stride:
            raise SettingsError(
                f"map_stride is {map_stride}; it must divide the stride of the features, which is "
                f"{stride}"
            )
        self.in_channels, self.classes, self.spatial_dims = in_channels, classes, spatial_dims
        self.stride, self.map_stride = stride, map_stride
        self.criterion = MASK_LOSSES.make(loss)
        count = classes + (classes > 1)
        self.maps = Maps(in_channels, count, spatial_dims=spatial_dims, finer=stride // map_stride)
        first = torch.zeros(count)
        first[-classes:] = math.log(RARE / classes / (1 - RARE))
        cells = (stride // map_stride) ** spatial_dims
        self.maps.values.bias = nn.Parameter(first.repeat_interleave(cells))

    @classmethod
    def on(cls, backbone: Any, count: int, size: Size, settings: Mapping[str, Setting]) -> Self:
        """Built with stride and axes of the backbone; see `Head.on`."""
        made: Any = cls
        axes = getattr(backbone, "spatial_dims", 2)
        built: Self = made(backbone.out_channels, count, backbone.stride, axes, **settings)
        return built

    def forward(self, features: Tensor) -> Tensor:
        """(batch, 1 or classes + 1, *map) logits of features (batch, in_channels, *size)."""
        check_features(features, self.in_channels, self.spatial_dims)
        logits: Tensor = self.maps(features)
        return logits

    def loss(self, output: Tensor, truth: Tensor, skeleton: Tensor) -> Tensor:
        """Loss of each image.

        Args:
            output: what `forward` returned.
            truth: (batch, *image) of classes, `IGNORED` where nothing is said.
            skeleton: the same of thickened skeletons, see `MaskLoss`; (batch,) of anything where
                the loss needs none.
        """
        return self.criterion(output, self._coarser(truth), self._coarser(skeleton))

    def _coarser(self, labels: Tensor) -> Tensor:
        """Labels at the maps' stride: the largest number in each cell, so that no line is lost."""
        labels = labels.long()
        if self.map_stride == 1 or labels.ndim == 1:  # of a skeleton that nobody needs
            return labels
        sides: list[int] = []
        for side in labels.shape[1:]:
            sides += [side // self.map_stride, self.map_stride]
        cells = labels.reshape(len(labels), *sides)
        return cells.amax(tuple(range(2, 2 * self.spatial_dims + 1, 2)))
