"""Heads: features to dots, each with its own target and loss. Each file is a member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from placewise.family import Family


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
    """Features to dots.

    A head is built with `(channels, points, stride, frame)`: channels and stride of the features,
    number of points, and the (height, width) in pixels of the pictures that it is trained on;
    everything else is a keyword and so a setting.
    """

    any_size = True
    """Whether the head answers on pictures of other sizes than those it was trained on."""

    windows = True
    """Whether it can learn from windows on large pictures; else it must see whole ones."""

    @abstractmethod
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Raw output for features (batch, channels, height, width)."""

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


HEADS = Family("head", Head, "placewise.heads")
