"""Heads: features to keypoints or to classes, each with its own loss. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.family import Family
from placewise.labels import NOT_LABELLED

Task = Literal["keypoints", "classes"]


@dataclass(frozen=True)
class Decoded:
    """Where a head puts its keypoints.

    Attributes:
        keypoints: (batch, keypoints, 2) of (x, y) in pixels of the image that the network saw.
        scores: (batch, keypoints) probability that the keypoint is on the image.
        uncertainty: (batch, keypoints) how far in pixels the head itself believes it may be off;
            only their ratios matter, since radii are calibrated.
    """

    keypoints: torch.Tensor
    scores: torch.Tensor
    uncertainty: torch.Tensor


class Head(nn.Module, ABC):
    """Features to an answer. What it answers is its task: a `KeypointHead` or a `ClassHead`."""

    task: ClassVar[Task]

    any_size: bool = True
    """Whether the head answers on images of other sizes than those it was trained on."""

    @abstractmethod
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Raw output for features (batch, channels, *map)."""


class KeypointHead(Head):
    """Features to keypoints.

    It is built with `(in_channels, keypoints, stride=None, input_size=None)`: channels of the
    features, number of keypoints, image pixels for one pixel of the features, and the
    (height, width) in pixels of the images that it is trained on. Everything else is a keyword and
    so a setting. A head that needs no stride to build its weights can be built without, and gets
    it from the model by `attach`.
    """

    task = "keypoints"

    crops: bool = True
    """Whether it can learn from crops of large images; else it must see whole ones."""

    can_say_absent: bool = True
    """Whether its scores tell keypoints that are on the image from those that are not."""

    stride: int | None = None
    """Image pixels for one pixel of the features; None until it is known."""

    input_size: tuple[int, int] | None = None
    """(height, width) in pixels of the training images; None where it is not known."""

    def attach(self, stride: int, input_size: tuple[int, int] | None = None) -> None:
        """Tell the head what it reads. A model does this; no weight changes.

        Args:
            stride: image pixels for one pixel of the features.
            input_size: (height, width) in pixels of the training images, where it is known.

        Raises:
            SettingsError: the head was built for another stride or another input size.
        """
        if self.stride not in (None, stride):
            raise SettingsError(
                f"the head was built for features of stride {self.stride}, and its backbone has "
                f"stride {stride}; build the head with stride={stride}, or leave the stride out"
            )
        if input_size and self.input_size not in (None, input_size):
            raise SettingsError(
                f"the head was built for images of {self.input_size} (height, width), and the "
                f"model is trained on {input_size}; build the head with input_size={input_size}, "
                "or leave it out"
            )
        self.stride, self.input_size = stride, input_size or self.input_size

    @abstractmethod
    def loss(
        self, output: torch.Tensor, keypoints: torch.Tensor, visibility: torch.Tensor
    ) -> torch.Tensor:
        """Loss of each keypoint.

        Args:
            output: what `forward` returned.
            keypoints: (batch, keypoints, 2) in pixels of the image; anything where not located.
            visibility: (batch, keypoints) of `Visibility`.

        Returns:
            (batch, keypoints) losses, exactly 0 for a keypoint that is not labelled.
        """

    @abstractmethod
    def encode(
        self, keypoints: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Raw output of a network that knows the truth: what the loss draws `forward` towards.

        Reading it with `decode` gives the decode floor: the error that is left when nothing is
        wrong but the way of writing a keypoint down.

        Args:
            keypoints: (batch, keypoints, 2) in pixels of the image.
            visibility: (batch, keypoints) of `Visibility`.
            size: (height, width) of the image, multiples of the features' stride.
        """

    @abstractmethod
    def decode(self, output: torch.Tensor, size: tuple[int, int]) -> Decoded:
        """Read keypoints off the raw output.

        Args:
            output: what `forward` returned.
            size: (height, width) of the image proper; what lies beyond is padding, and no keypoint
                is put there.
        """


class ClassHead(Head):
    """Features to one logit for each class.

    It is built with `(in_channels, classes, size)`: channels of the features, number of classes,
    and the size of the map that a training image gives, one number for each of its 1, 2 or 3
    axes; everything else is a keyword and so a setting. `forward` returns (batch, classes) logits.
    """

    task = "classes"

    def loss(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
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
