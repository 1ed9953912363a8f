"""The usual way to classes: features to a vector, and fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from placewise.heads._tied import LAYERS, TiedHead, begin, check_counts, check_share

HIDDEN = 100
"""Units of the hidden layer, as in the net that this project began with."""


class Flatten(TiedHead):
    """Flatten the features, one or more fully connected layers, one logit for each class.

    y = W₂·relu(W₁·flatten(x) + b₁) + b₂. Each hidden unit reads every place with a weight of its
    own, so the order in which places are flattened changes nothing but the order of the weights,
    and the head is tied to one size of map. This is the end of LeNet-5 (LeCun et al., 1998).
    Weights begin with variance 2 / fan-in (He et al., 2015), those of the answer with 1 / fan-in.

    Args:
        in_channels: channels of the features.
        classes: number of classes.
        size: of the features' map, 1 to 3 axes.
        hidden: units of each hidden layer.
        layers: number of hidden layers; 0 gives a linear answer.
        dropout: share of each hidden layer's units that are left out at a step of training.

    Example:
        >>> head = Flatten(6, 10, (5, 5))
        >>> head(torch.zeros(1, 6, 5, 5)).shape, sum(p.numel() for p in head.parameters())
        (torch.Size([1, 10]), 16110)
    """

    does = "flattens"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: Sequence[int],
        *,
        hidden: int = HIDDEN,
        layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, classes, size)
        check_counts(hidden=hidden)
        check_counts(layers=layers, least=0, most=LAYERS)
        check_share(dropout)
        widths = [in_channels * math.prod(size), *[hidden] * layers]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(widths[-1], classes)
        begin(self.hidden, self.out)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) logits of features (batch, channels, *size)."""
        self.check(features)
        vector = features.flatten(1)
        for layer in self.hidden:
            vector = self.dropout(torch.relu(layer(vector)))
        logits: Tensor = self.out(vector)
        return logits
