"""Heads: features to dots or to classes, each with its own loss. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from placewise.family import Family
from placewise.formats import NOT_LABELLED

Task = Literal["dots", "classes"]


@dataclass(frozen=True)
class Dots:
    """Where a head puts its dots.

    Attributes:
        points: (batch, points, 2) of (x, y) in pixels of the picture that the network saw.
        scores: (batch, points) probability that the point is on the picture.
        spreads: (batch, points) how far in pixels the head itself believes it may be off; only
            their ratios matter, since radii are calibrated.
    """

    points: torch.Tensor
    scores: torch.Tensor
    spreads: torch.Tensor


class Head(nn.Module, ABC):
    """Features to an answer. What it answers is its task: a `DotHead` or a `ClassHead`."""

    task: ClassVar[Task]

    any_size: bool = True
    """Whether the head answers on pictures of other sizes than those it was trained on."""

    @abstractmethod
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Raw output for features (batch, channels, *map)."""


class DotHead(Head):
    """Features to dots.

    It is built with `(channels, points, stride, frame)`: channels and stride of the features,
    number of points, and the (height, width) in pixels of the pictures that it is trained on;
    everything else is a keyword and so a setting.
    """

    task = "dots"

    windows = True
    """Whether it can learn from windows on large pictures; else it must see whole ones."""

    @abstractmethod
    def loss(
        self, output: torch.Tensor, points: torch.Tensor, states: torch.Tensor
    ) -> torch.Tensor:
        """Loss of each point.

        Args:
            output: what `forward` returned.
            points: (batch, points, 2) in pixels of the picture; anything where not located.
            states: (batch, points) of `State`.

        Returns:
            (batch, points) losses, exactly 0 for a point that is not labelled.
        """

    @abstractmethod
    def ideal(
        self, points: torch.Tensor, states: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Raw output of a network that knows the truth: what the loss draws `forward` towards.

        Reading it with `dots` gives the decode floor: the error that is left when nothing is
        wrong but the way of writing a point down.

        Args:
            points: (batch, points, 2) in pixels of the picture.
            states: (batch, points) of `State`.
            size: (height, width) of the picture, multiples of the features' stride.
        """

    @abstractmethod
    def dots(self, output: torch.Tensor, size: tuple[int, int]) -> Dots:
        """Read dots off the raw output.

        Args:
            output: what `forward` returned.
            size: (height, width) of the picture proper; what lies beyond is padding, and no dot
                is put there.
        """


class ClassHead(Head):
    """Features to one logit for each class.

    It is built with `(channels, classes, size)`: channels of the features, number of classes, and
    the size of the map that a training picture gives, one number for each of its 1, 2 or 3 axes;
    everything else is a keyword and so a setting. `forward` returns (batch, classes) logits.
    """

    task = "classes"

    def loss(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each picture: −log softmax(output)[label].

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
