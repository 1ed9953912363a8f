"""Classes without a fully connected layer: 1×1 convolutions and the average over the map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from placewise.heads import ClassHead, check_features
from placewise.heads._tied import LAYERS, begin, check_built, check_counts, check_share
from placewise.heads.flatten import HIDDEN
from placewise.layers.convolution import Convolution


class Convolutional(ClassHead):
    """1×1 convolutions with as many channels as a hidden layer has units, then the average.

    y = W₂·mean_p relu(W₁·x(p) + b₁) + b₂. The average stands before the last, linear step because
    it costs less there and gives the same: each place votes for each class, and the logit is the
    mean vote. Nothing is tied to a size, so the head answers on images of any. Global average
    pooling in place of fully connected layers: "Network In Network" (Lin et al., 2014).

    Args:
        in_channels: channels of the features.
        classes: number of classes.
        size: of a training image's map, 1 to 3 axes; only their number counts.
        hidden: channels of each 1×1 convolution; by default as many as the head 'flatten' has
            hidden units.
        layers: number of 1×1 convolutions; 0 averages the features themselves.
        dropout: share of the averages that are left out at a step of training.

    Example:
        >>> head = Convolutional(6, 10, (5, 5))
        >>> head(torch.zeros(1, 6, 5, 5)).shape, head(torch.zeros(1, 6, 9, 4)).shape
        (torch.Size([1, 10]), torch.Size([1, 10]))
    """

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
        super().__init__()
        check_built(in_channels, classes, size)
        check_counts(hidden=hidden)
        check_counts(layers=layers, least=0, most=LAYERS)
        check_share(dropout)
        self.in_channels = in_channels
        widths = [in_channels, *[hidden] * layers]
        self.axes = tuple(range(2, 2 + len(size)))
        self.hidden = nn.ModuleList(
            Convolution(before, hidden, 1, spatial_dims=len(size)) for before in widths[:-1]
        )
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(widths[-1], classes)
        begin(self.hidden, self.out)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) logits of features (batch, channels, *any size)."""
        check_features(features, self.in_channels, len(self.axes))
        for layer in self.hidden:
            features = torch.relu(layer(features))
        logits: Tensor = self.out(self.dropout(features.mean(self.axes)))
        return logits
