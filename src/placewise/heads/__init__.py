"""Heads: features to keypoints or to classes, each with its own loss. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from placewise.family import Family
from placewise.labels import NOT_LABELLED

Task = Literal["keypoints", "classes"]


@dataclass(frozen=True)
class Decoded:
    """Where a head puts its keypoints.

    Attributes:
        points: (batch, points, 2) of (x, y) in pixels of the image that the network saw.
        scores: (batch, points) probability that the point is on the image.
        spreads: (batch, points) how far in pixels the head itself believes it may be off; only
            their ratios matter, since radii are calibrated.
    """

    points: torch.Tensor
    scores: torch.Tensor
    spreads: torch.Tensor


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

    It is built with `(channels, points, stride, frame)`: channels and stride of the features,
    number of points, and the (height, width) in pixels of the images that it is trained on;
    everything else is a keyword and so a setting.
    """

    task = "keypoints"

    windows = True
    """Whether it can learn from windows on large images; else it must see whole ones."""

    @abstractmethod
    def loss(
        self, output: torch.Tensor, points: torch.Tensor, visibility: torch.Tensor
    ) -> torch.Tensor:
        """Loss of each point.

        Args:
            output: what `forward` returned.
            points: (batch, points, 2) in pixels of the image; anything where not located.
            visibility: (batch, points) of `Visibility`.

        Returns:
            (batch, points) losses, exactly 0 for a point that is not labelled.
        """

    @abstractmethod
    def encode(
        self, points: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Raw output of a network that knows the truth: what the loss draws `forward` towards.

        Reading it with `keypoints` gives the decode floor: the error that is left when nothing is
        wrong but the way of writing a point down.

        Args:
            points: (batch, points, 2) in pixels of the image.
            visibility: (batch, points) of `Visibility`.
            size: (height, width) of the image, multiples of the features' stride.
        """

    @abstractmethod
    def keypoints(self, output: torch.Tensor, size: tuple[int, int]) -> Decoded:
        """Read keypoints off the raw output.

        Args:
            output: what `forward` returned.
            size: (height, width) of the image proper; what lies beyond is padding, and no keypoint
                is put there.
        """


class ClassHead(Head):
    """Features to one logit for each class.

    It is built with `(channels, classes, size)`: channels of the features, number of classes, and
    the size of the map that a training image gives, one number for each of its 1, 2 or 3 axes;
    everything else is a keyword and so a setting. `forward` returns (batch, classes) logits.
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
