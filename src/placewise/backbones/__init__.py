"""Backbones: picture to feature maps, fully convolutional. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from placewise.family import Family
from placewise.geometry import Size


class Backbone(nn.Module, ABC):
    """A fully convolutional network from a picture to feature maps.

    Attributes:
        channels: channels of the features.
        stride: picture pixels for one pixel of the features.
        multiple: height and width of the picture have to be multiples of this.
        receptive_field: side in picture pixels of the theoretical receptive field.
        aligned: whether pixel m of the features lies at picture pixel (m + ½)·stride − ½, which
            dots need; a backbone that cuts the border off (valid convolutions) is not.
        first_weights: settings that give no more than first weights; empty once a run holds
            weights of its own.
    """

    first_weights: ClassVar[tuple[str, ...]] = ()

    channels: int
    stride: int
    multiple: int
    receptive_field: int
    aligned: bool = True

    @abstractmethod
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features of pictures.

        Args:
            pictures: (batch, channels, height, width), height and width multiples of `multiple`.

        Returns:
            (batch, self.channels, *self.size((height, width))).
        """

    def size(self, picture: Size) -> Size:
        """(height, width) of the features of a picture whose sides are multiples of `multiple`."""
        return picture[0] // self.stride, picture[1] // self.stride


BACKBONES = Family("backbone", Backbone, "placewise.backbones")
