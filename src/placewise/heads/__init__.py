"""Heads: features to keypoints or to classes, each with its own loss. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor, nn

from placewise.errors import SettingsError, ShapeError
from placewise.family import Family, Setting
from placewise.gathering import Gathering
from placewise.geometry import FloatArray, Size
from placewise.labels import NOT_LABELLED


@dataclass(frozen=True)
class Decoded:
    """Where a head puts its keypoints.

    Attributes:
        keypoints: (batch, keypoints, axes) of (x, y, …) in pixels of the image that the network
            saw.
        scores: (batch, keypoints) probability that the keypoint is on the image.
        uncertainty: (batch, keypoints) how far in pixels the head itself believes it may be off;
            only their ratios matter, since radii are calibrated.
    """

    keypoints: Tensor
    scores: Tensor
    uncertainty: Tensor


class Head(nn.Module, ABC):
    """Features to an answer. What it answers is its task: a `KeypointHead` or a `ClassHead`."""

    task: ClassVar[str]
    """Name of the task whose answers it gives."""

    pointwise: bool = False
    """Whether each pixel of the features is read alone; where not, the audit finds how far."""

    any_size: bool = True
    """Whether the head answers on images of other sizes than those it was trained on."""

    mirrors: ClassVar[bool] = False
    """Whether what it says of mirrored images can be mirrored back: see `unmirrored`."""

    @classmethod
    def on(cls, backbone: Any, count: int, size: Size, settings: Mapping[str, Setting]) -> Self:
        """The head for a backbone of ours: by default built with (in_channels, count).

        Args:
            backbone: member of `BACKBONES` that it reads.
            count: number of names that it answers for.
            size: of the training images in pixels, multiples of the backbone's.
            settings: keywords of its constructor.
        """
        made: Any = cls
        built: Self = made(backbone.out_channels, count, **settings)
        return built

    def attach(
        self, stride: int | Sequence[int] | None, input_size: Sequence[int] | None = None
    ) -> None:
        """Tell the head what it reads, for heads that ask for it. A model does this.

        Args:
            stride: image pixels for one pixel of the features.
            input_size: size in pixels of the training images.
        """

    def unmirrored(self, output: Tensor, axes: Sequence[int]) -> Tensor:
        """Raw output for mirrored images as that of the images themselves: maps are mirrored back.

        Args:
            output: what `forward` returned for images that were mirrored.
            axes: along which they were, counted from the end: −1 is x.
        """
        return output.flip(tuple(axes))

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Raw output for features (batch, in_channels, *map).

        Raises:
            ShapeError: the features have another number of axes or channels than the head reads,
                or another size than the only one that it reads.
        """


class GridHead(Head):
    """A head that knows where its features lie on the image, in 1, 2 or 3 dimensions.

    A member is built with `(in_channels, keypoints, stride=None, input_size=None,
    spatial_dims=None)` and keywords of its own, which are its settings. A head that needs no
    stride for its weights can be built without one: the model says it by `attach`.

    Sizes and strides are in the order of the features' axes, (height, width); keypoints are in
    the order of coordinates, (x, y).

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features, one number or one for each axis; None
            where it is not known yet.
        input_size: size in pixels of the training images, a multiple of the stride; None where it
            is not known.
        spatial_dims: axes of an image; None: as many as the input size has, or else 2.

    Raises:
        SettingsError: a number that cannot be.
    """

    stride: Size | None = None
    """Image pixels for one pixel of the features, for each axis; None until it is known."""

    input_size: Size | None = None
    """Size in pixels of the training images; None where it is not known."""

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None = None,
        input_size: Sequence[int] | None = None,
        spatial_dims: int | None = None,
    ) -> None:
        super().__init__()
        if in_channels < 1 or keypoints < 1:
            raise SettingsError(
                f"in_channels is {in_channels} and keypoints is {keypoints}; both must be 1 or more"
            )
        self.in_channels, self.keypoints = in_channels, keypoints
        self.spatial_dims = spatial_dims or (2 if input_size is None else len(input_size))
        if self.spatial_dims not in (1, 2, 3):
            raise SettingsError(f"spatial_dims is {spatial_dims}; it must be 1, 2 or 3")
        self.attach(stride, input_size)

    @classmethod
    def on(cls, backbone: Any, count: int, size: Size, settings: Mapping[str, Setting]) -> Self:
        """Built with the stride of the backbone and the size of the images; see `Head.on`."""
        made: Any = cls
        built: Self = made(backbone.out_channels, count, backbone.stride, size, **settings)
        return built

    def attach(
        self, stride: int | Sequence[int] | None, input_size: Sequence[int] | None = None
    ) -> None:
        """Tell the head what it reads. A model does this; no weight changes.

        Args:
            stride: image pixels for one pixel of the features; None changes nothing.
            input_size: size in pixels of the training images; None changes nothing.

        Raises:
            SettingsError: the head was built for another stride or another input size.
        """
        for name, value in (("stride", stride), ("input_size", input_size)):
            if value is None:
                continue
            axes = (value,) * self.spatial_dims if isinstance(value, int) else tuple(value)
            if len(axes) != self.spatial_dims or min(axes) < 1:
                raise SettingsError(
                    f"{name} is {value}; it must have {self.spatial_dims} numbers, one for each "
                    "axis, of 1 or more"
                )
            if getattr(self, name) not in (None, axes):
                raise SettingsError(
                    f"the head was built with {name} {getattr(self, name)}, and its model has "
                    f"{axes}; build the head with {name}={axes}, or leave {name} out"
                )
            setattr(self, name, axes)

    def check(self, features: Tensor) -> None:
        """Refuse features that the head cannot read.

        Raises:
            ShapeError: says what was got and what is expected.
        """
        check_features(features, self.in_channels, self.spatial_dims)


class KeypointHead(GridHead):
    """Features to keypoints, each once on an image; see `GridHead` for how it is built."""

    task = "keypoints"

    crops: bool = True
    """Whether it can learn from crops of large images; else it must see whole ones."""

    can_say_absent: bool = True
    """Whether its scores tell keypoints that are on the image from those that are not."""

    exact_at_border: bool = True
    """Whether an ideal output with a keypoint on the outermost pixel is read back exactly."""

    @abstractmethod
    def loss(self, output: Tensor, keypoints: Tensor, visibility: Tensor) -> Tensor:
        """Loss of each keypoint.

        Args:
            output: what `forward` returned.
            keypoints: (batch, keypoints, axes) in pixels of the image; anything where not located.
            visibility: (batch, keypoints) of `Visibility`.

        Returns:
            (batch, keypoints) losses, exactly 0 for a keypoint that is not labelled.
        """

    @abstractmethod
    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """Raw output of a network that knows the truth: what the loss draws `forward` towards.

        Reading it with `decode` gives the decode floor: the error that is left when nothing is
        wrong but the way of writing a keypoint down.

        Args:
            keypoints: (batch, keypoints, axes) in pixels of the image.
            visibility: (batch, keypoints) of `Visibility`.
            size: of the image, multiples of the features' stride.
        """

    @abstractmethod
    def decode(self, output: Tensor, size: Size) -> Decoded:
        """Read keypoints off the raw output.

        Args:
            output: what `forward` returned.
            size: of the image proper; what lies beyond is padding, and no keypoint is put there.
        """

    def gathering(self, size: Size) -> Gathering[Decoded]:
        """What `decode` does, tile by tile.

        Args:
            size: of the image proper.

        Raises:
            SettingsError: the output is read as a whole, not as maps.
        """
        raise SettingsError(
            f"the head {type(self).__name__} reads its output as a whole, so an image cannot be "
            "predicted in tiles; shrink the image, raise --memory, or train with the head 'heatmap'"
        )

    def hills(self, output: Tensor, size: Size) -> list[FloatArray]:
        """Places at which the map of each keypoint of one image has a maximum, the hottest first.

        Args:
            output: what `forward` returned for one image.
            size: of the image proper.

        Returns:
            For each keypoint (n, axes) of (x, y, …) in pixels of the image; nothing of a head
            without maps.
        """
        return [np.empty((0, self.spatial_dims)) for _ in range(self.keypoints)]


def check_features(features: Tensor, in_channels: int, spatial_dims: int) -> None:
    """Refuse features with another number of axes or channels.

    Raises:
        ShapeError: says what was got and what is expected.

    Example:
        >>> import torch
        >>> check_features(torch.zeros(1, 8, 5, 6), in_channels=8, spatial_dims=2)
    """
    if features.ndim != spatial_dims + 2 or features.shape[1] != in_channels:
        raise ShapeError(
            f"the head got features of shape {tuple(features.shape)}; it reads (batch, "
            f"{in_channels} channels, and {spatial_dims} axes). Build it with the backbone's "
            "out_channels and with the number of axes of its features"
        )


class ClassHead(Head):
    """Features to one logit for each class.

    It is built with `(in_channels, classes, size)`: channels of the features, number of classes,
    and the size of the map that a training image gives, one number for each of its 1, 2 or 3
    axes; everything else is a keyword and so a setting. `forward` returns (batch, classes) logits.
    """

    task = "classes"

    @classmethod
    def on(cls, backbone: Any, count: int, size: Size, settings: Mapping[str, Setting]) -> Self:
        """Built with the size of the map that the images give; see `Head.on`."""
        made: Any = cls
        built: Self = made(backbone.out_channels, count, backbone.size(size), **settings)
        return built

    def loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each image: −log softmax(output)[label].

        Args:
            output: (batch, classes) logits.
            labels: (batch,) int64; `NOT_LABELLED` where the class is not known.

        Returns:
            (batch,) losses, exactly 0 where the class is not known.
        """
        return nn.functional.cross_entropy(
            output, labels, ignore_index=NOT_LABELLED, reduction="none"
        )


HEADS = Family("head", Head, "placewise.heads")


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return HEADS.class_named(name)
