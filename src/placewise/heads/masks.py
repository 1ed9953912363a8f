"""One map for each class: what each pixel is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from placewise.errors import SettingsError
from placewise.heads._maps import DenseHead
from placewise.mask_losses import MASK_LOSSES, MaskLoss

RARE = 0.1
"""Share of the pixels that a class is taken to have at first."""


class Masks(DenseHead):
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
            must divide the stride of the features.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> head = Masks(8, classes=2, stride=4)
        >>> head(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 3, 20, 24])
    """

    task = "masks"
    mirrors = True

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
        if in_channels < 1 or classes < 1:
            raise SettingsError(
                f"in_channels is {in_channels} and classes is {classes}; both must be 1 or more"
            )
        count = classes + (classes > 1)
        super().__init__(in_channels, count, stride, spatial_dims, map_stride)
        self.classes = classes
        self.criterion = MASK_LOSSES.make(loss)
        first = torch.zeros(count)
        first[-classes:] = math.log(RARE / classes / (1 - RARE))
        self.begin(first)

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
