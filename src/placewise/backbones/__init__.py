"""Backbones: picture to feature maps, fully convolutional. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from placewise.family import Family


class Backbone(nn.Module, ABC):
    """A fully convolutional network from a picture to feature maps.

    Attributes:
        channels: channels of the features.
        stride: picture pixels for one pixel of the features.
        multiple: height and width of the picture have to be multiples of this.
        receptive_field: side in picture pixels of the theoretical receptive field.
    """

    channels: int
    stride: int
    multiple: int
    receptive_field: int

    @abstractmethod
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features of pictures.

        Args:
            pictures: (batch, channels, height, width), height and width multiples of `multiple`.

        Returns:
            (batch, self.channels, height / stride, width / stride).
        """


BACKBONES = Family("backbone", Backbone, "placewise.backbones")
