"""Hidden layers whose units connect to a fixed number of inputs, the near ones more readily."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from placewise.heads._tied import LAYERS, TiedHead, begin, check_counts
from placewise.layers.proximity import Nearness, Places
from placewise.layers.proximity import Proximity as ProximityLayer


class Proximity(TiedHead):
    """Sheets of units that connect by nearness, and a linear answer.

    h_m = relu(b_m + Σ_k w_mk · x_(index_mk)), where the inputs of each unit are drawn once, without
    replacement, with probabilities proportional to exp(−(d/λ)^p); y = V·h + c from all units of
    the last sheet. Units lie over the map as its pixels do, and distances are in its pixels.

    A small λ gives a sheet of local windows, λ = ∞ the control that connects at random with the
    same number of weights: so the difference of the two is what nearness is worth.

    Args:
        in_channels: channels of the features.
        classes: number of classes.
        size: of the features' map, 1 to 3 axes.
        hidden: units at each place of a sheet.
        layers: number of sheets.
        fan_in: inputs of each unit; all of them where there are fewer. The default is what a 3×3
            window of 6 channels has.
        reach: λ in pixels of the map; infinite for connections at random.
        power: p; 1 falls off exponentially, 2 as a Gaussian, large ones leave a disc.
        far: share of each unit's connections that are drawn at random; 1 is as good as an
            infinite reach.

    Example:
        >>> head = Proximity(6, 10, (5, 5))
        >>> head(torch.zeros(1, 6, 5, 5)).shape, sum(p.numel() for p in head.parameters())
        (torch.Size([1, 10]), 16260)
    """

    does = "connects to"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: Sequence[int],
        *,
        hidden: int = 10,
        layers: int = 1,
        fan_in: int = 54,
        reach: float = 1.5,
        power: float = 2.0,
        far: float = 0.0,
    ) -> None:
        super().__init__(in_channels, classes, size)
        check_counts(hidden=hidden, fan_in=fan_in)
        check_counts(layers=layers, most=LAYERS)
        nearness = Nearness(reach, power, far)
        places = Places(tuple(size), in_channels)
        self.sheets = nn.ModuleList()
        for _ in range(layers):
            units = places.resized(places.shape, hidden)
            drawn = min(fan_in, places.units)
            self.sheets.append(ProximityLayer(places, units, drawn, nearness))
            places = units
        self.out = nn.Linear(places.units, classes)
        begin((), self.out)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) logits of features (batch, channels, *size)."""
        self.check(features)
        maps = features
        for sheet in self.sheets:
            maps = torch.relu(sheet(maps))
        logits: Tensor = self.out(maps.flatten(1))
        return logits
