"""Backbones: image to feature maps, fully convolutional. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError, ShapeError
from placewise.family import Family
from placewise.geometry import Size
from placewise.paddings import PADDINGS

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
"""The layers of torch by number of axes, less one."""


class Backbone(nn.Module, ABC):
    """A fully convolutional network from an image to feature maps.

    A member is built with `(in_channels, spatial_dims=2)` and keywords of its own, which are its
    settings; one that reads images of two axes only has no `spatial_dims`.

    Attributes:
        in_channels: channels of the images.
        out_channels: channels of the features.
        spatial_dims: axes of an image.
        stride: image pixels for one pixel of the features, along each axis.
        multiple: each side of the image has to be a multiple of this.
        receptive_field: side in image pixels of the theoretical receptive field.
        aligned: whether pixel m of the features lies at image pixel (m + ½)·stride − ½, which
            keypoints need; a backbone that cuts the border off (valid convolutions) is not.
        local: whether a pixel of the features reads its receptive field and nothing else, and all
            maps move with an image that is moved by `multiple`; where that is not known, the audit
            finds it.
        first_weights: settings that give no more than first weights; empty once a run holds
            weights of its own.
    """

    first_weights: ClassVar[tuple[str, ...]] = ()

    in_channels: int
    out_channels: int
    spatial_dims: int = 2
    stride: int
    multiple: int
    receptive_field: int
    aligned: bool = True
    local: bool = True

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: (batch, in_channels, *size), sizes multiples of `multiple`.

        Returns:
            (batch, self.out_channels, *self.size(size)).

        Raises:
            ShapeError: images of another number of axes or channels, or of another size.
        """

    def size(self, image: Size) -> Size:
        """Size of the features of an image whose sides are multiples of `multiple`."""
        return tuple(side // self.stride for side in image)

    def check(self, images: Tensor) -> None:
        """Refuse images that the backbone cannot read.

        Raises:
            ShapeError: says what was got and what is expected.
        """
        got, axes = tuple(images.shape), self.spatial_dims
        if len(got) != axes + 2 or got[1] != self.in_channels:
            raise ShapeError(
                f"the backbone got images of shape {got}; it reads (batch, {self.in_channels} "
                f"channels, and {axes} axes). Build it with in_channels and spatial_dims of the "
                "images"
            )
        if not torch.compiler.is_exporting() and any(side % self.multiple for side in got[2:]):
            raise ShapeError(
                f"the backbone got images of {'×'.join(map(str, got[:1:-1]))} px; each side must "
                f"be a multiple of {self.multiple}. Pad them, or let a KeypointModel do it"
            )


def check_axes(spatial_dims: int) -> None:
    """Refuse a number of axes that no image has.

    Raises:
        SettingsError: says what was got and what is needed.
    """
    if spatial_dims not in (1, 2, 3):
        raise SettingsError(f"spatial_dims is {spatial_dims}; it must be 1, 2 or 3")


def check_keeps_size(padding_mode: str) -> None:
    """Refuse a padding rule that changes the size of the maps.

    A residual block adds a map to what convolutions make of it, place by place, and a skip adds
    the way down to the way up: both need maps of one size.

    Raises:
        SettingsError: names the rules that can be used.

    Example:
        >>> check_keeps_size("symmetric")
    """
    if not PADDINGS[padding_mode].keeps_size:
        usable = ", ".join(name for name in PADDINGS.names() if PADDINGS[name].keeps_size)
        raise SettingsError(
            f"the padding rule '{padding_mode}' changes the size of the maps, and this backbone "
            f"adds maps of different layers to each other place by place; use one of: {usable}"
        )


BACKBONES = Family("backbone", Backbone, "placewise.backbones")


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return BACKBONES.class_named(name)
