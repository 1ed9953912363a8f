"""The control that knows no place: the same head, trained on features in a fixed random order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from placewise.heads import HEADS, ClassHead
from placewise.tasks._permuted import PermutedPlaces


class Permuted(ClassHead):
    """A class head behind one fixed permutation of the places of the map.

    All channels of a place move together, so what stands at a place is kept, and only which
    places are neighbours is lost. A head that flattens learns the same (its weights are permuted
    alike, and their first values are drawn independently); one that uses nearness learns less.
    Accuracy without minus accuracy with the permutation is the place-use index.

    It reaches the head at the size of the training alone, so it is tied to it.

    Args:
        in_channels: channels of the features.
        classes: number of classes.
        size: of the features' map, 1 to 3 axes.
        head: member of `HEADS` behind the permutation.
        settings: its keywords, as JSON.
        order: seed of the permutation.

    Example:
        >>> import torch
        >>> head = Permuted(2, 10, (5, 5), head="flatten", settings='{"hidden": 8}')
        >>> head(torch.zeros(1, 2, 5, 5)).shape
        torch.Size([1, 10])
    """

    any_size = False

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: Sequence[int],
        *,
        head: str = "flatten",
        settings: str = "{}",
        order: int = 0,
    ) -> None:
        super().__init__()
        member: Any = HEADS[head]
        self.inner: ClassHead = member(in_channels, classes, tuple(size), **json.loads(settings))
        self.permutation = PermutedPlaces(in_channels, size, order)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) logits of features (batch, channels, *size)."""
        logits: Tensor = self.inner(self.permutation(features))
        return logits

    def loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """The inner head's loss."""
        return self.inner.loss(output, labels)
