"""Backbones: image to feature maps, fully convolutional. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from placewise.family import Family
from placewise.geometry import Size


class Backbone(nn.Module, ABC):
    """A fully convolutional network from an image to feature maps.

    Attributes:
        in_channels: channels of the images.
        out_channels: channels of the features.
        stride: image pixels for one pixel of the features.
        multiple: height and width of the image have to be multiples of this.
        receptive_field: side in image pixels of the theoretical receptive field.
        aligned: whether pixel m of the features lies at image pixel (m + ½)·stride − ½, which
            keypoints need; a backbone that cuts the border off (valid convolutions) is not.
        first_weights: settings that give no more than first weights; empty once a run holds
            weights of its own.
    """

    first_weights: ClassVar[tuple[str, ...]] = ()

    in_channels: int
    out_channels: int
    stride: int
    multiple: int
    receptive_field: int
    aligned: bool = True

    @abstractmethod
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images.

        Args:
            images: (batch, channels, height, width), height and width multiples of `multiple`.

        Returns:
            (batch, self.out_channels, *self.size((height, width))).
        """

    def size(self, image: Size) -> Size:
        """(height, width) of the features of an image whose sides are multiples of `multiple`."""
        return image[0] // self.stride, image[1] // self.stride


BACKBONES = Family("backbone", Backbone, "placewise.backbones")


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return BACKBONES.class_named(name)
