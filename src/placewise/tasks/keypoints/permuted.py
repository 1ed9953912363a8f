"""The control that knows no place: the same head, trained on features in a fixed random order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from placewise.geometry import Size
from placewise.heads import HEADS, Decoded, KeypointHead
from placewise.tasks._permuted import PermutedPlaces


class PermutedKeypoints(KeypointHead):
    """A keypoint head behind one fixed permutation of the places of the map.

    Keypoints are asked for where they are in the image. A head that flattens every place learns the
    same; one whose map is the answer is told of each place by the features of another, and can
    say no more than what those know of their surroundings.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features, for each axis.
        input_size: of the training images in pixels, in the order of the axes.
        head: member of `HEADS` behind the permutation.
        settings: its keywords, as JSON.
        order: seed of the permutation.

    Example:
        >>> import torch
        >>> head = PermutedKeypoints(2, 3, (4, 4), (20, 20), head="heatmap")
        >>> head(torch.zeros(1, 2, 5, 5)).shape
        torch.Size([1, 3, 10, 10])
    """

    any_size = False
    crops = False

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int],
        input_size: Sequence[int],
        *,
        head: str = "heatmap",
        settings: str = "{}",
        order: int = 0,
    ) -> None:
        super().__init__(in_channels, keypoints, stride, input_size)
        member: Any = HEADS[head]
        self.inner: KeypointHead = member(
            in_channels, keypoints, stride, input_size, **json.loads(settings)
        )
        self.can_say_absent = self.inner.can_say_absent
        steps = self.stride or ()
        size = [side // step for side, step in zip(input_size, steps, strict=True)]
        self.permutation = PermutedPlaces(in_channels, size, order)

    def forward(self, features: Tensor) -> Tensor:
        """Raw output of the inner head for features (batch, channels, height, width)."""
        output: Tensor = self.inner(self.permutation(features))
        return output

    def loss(self, output: Tensor, keypoints: Tensor, visibility: Tensor) -> Tensor:
        """The inner head's losses."""
        return self.inner.loss(output, keypoints, visibility)

    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """What the inner head is drawn towards."""
        return self.inner.encode(keypoints, visibility, size)

    def decode(self, output: Tensor, size: Size) -> Decoded:
        """The inner head's keypoints."""
        return self.inner.decode(output, size)
