"""Hidden layers that stay maps: each unit reads its neighbourhood, with weights of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.heads._tied import LAYERS, TiedHead, begin, check_counts, check_share
from placewise.layers.local import LocallyConnected


class Sheet(TiedHead):
    """Two- or three-dimensional hidden layers, locally connected, and a linear answer.

    h_i(p) = relu(b_i(p) + Σ_c Σ_t W_ic(p, t) · x_c(p + t)) over a window about place p, sheet after
    sheet; y = V·h + d from all units of the last. Nothing is flattened before the answer: who
    lies next to whom decides which units connect. No two places share weights, as in the locally
    connected layers of DeepFace (Taigman et al., 2014). At the border windows are moved inside, so
    that every unit reads window^axes places.

    On maps of 6@5×5 and 10 classes it costs what the head 'flatten' costs, 16,000 multiply-adds
    and 16,260 parameters, in another arrangement.

    Args:
        in_channels: channels of the features.
        classes: number of classes.
        size: of the features' map, 1 to 3 axes.
        hidden: units at each place of a sheet.
        layers: number of sheets.
        window: places of a unit's window along each axis; of a shorter axis, all.
        volume: the channels are one more axis, along which a unit reads its neighbours only: the
            hidden layers of a map of two axes have three.
        dropout: share of each sheet's units that are left out at a step of training.

    Example:
        >>> head = Sheet(6, 10, (5, 5))
        >>> head(torch.zeros(1, 6, 5, 5)).shape, sum(p.numel() for p in head.parameters())
        (torch.Size([1, 10]), 16260)
    """

    does = "lays sheets of units over"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: Sequence[int],
        *,
        hidden: int = 10,
        layers: int = 1,
        window: int = 3,
        volume: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, classes, size)
        check_counts(hidden=hidden, window=window)
        check_counts(layers=layers, most=LAYERS)
        check_share(dropout)
        if volume and len(size) == 3:
            raise SettingsError(
                "volume makes the channels one more axis, and this map has 3 already; there are "
                "at most 3. Leave volume out"
            )
        self.volume = volume
        sides = (in_channels, *size) if volume else tuple(size)
        widths = [1 if volume else in_channels, *[hidden] * (layers - 1)]
        windows = [min(window, side) for side in sides]
        self.sheets = nn.ModuleList(
            LocallyConnected(before, hidden, sides, windows) for before in widths
        )
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden * math.prod(sides), classes)
        begin((), self.out)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) logits of features (batch, channels, *size)."""
        self.check(features)
        maps = features[:, None] if self.volume else features
        for sheet in self.sheets:
            maps = self.dropout(torch.relu(sheet(maps)))
        logits: Tensor = self.out(maps.flatten(1))
        return logits
