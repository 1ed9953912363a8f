"""A trunk that all classes share, and a leaf for each that narrows to one node."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from placewise.heads._tied import TiedHead, check_counts
from placewise.layers.local import LocallyConnected


class PalmTree(TiedHead):
    """One branch of hidden sheets for each class, which narrows to the node that decides.

    All branches read the same features. In each, locally connected sheets halve the map,
    n → ⌈n/2⌉ along each axis, until one window holds what is left; the last node reads that and
    is the class's logit. No branch sees another's units: a class has features of its own all the
    way down.

        h_k = relu(LC_k(x)),  h_k ← relu(LC_k(h_k)) while larger than a window,
        y_k = ⟨w_k, h_k⟩ + b_k

    The branches of all classes are calculated together, as groups of channels.

    Args:
        in_channels: channels of the features.
        classes: number of classes, and of branches.
        size: of the features' map, 1 to 3 axes.
        hidden: units at each place of a branch's sheet.
        window: places of a unit's window along each axis, at least 2; of a shorter axis, all.

    Example:
        >>> head = PalmTree(6, 10, (5, 5))
        >>> [sheet.size_after(sheet.input_size) for sheet in head.sheets]
        [(3, 3)]
        >>> head(torch.zeros(1, 6, 5, 5)).shape, sum(p.numel() for p in head.parameters())
        (torch.Size([1, 10]), 15130)
    """

    does = "grows branches over"

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: Sequence[int],
        *,
        hidden: int = 3,
        window: int = 3,
    ) -> None:
        super().__init__(in_channels, classes, size)
        check_counts(hidden=hidden)
        check_counts(window=window, least=2)
        sides, before, groups = tuple(size), in_channels, 1
        self.sheets = nn.ModuleList()
        while not self.sheets or max(sides) > window:
            windows = [min(window, side) for side in sides]
            sheet = LocallyConnected(
                before, classes * hidden, sides, windows, stride=2, groups=groups
            )
            self.sheets.append(sheet)
            sides, before, groups = sheet.size_after(sides), classes * hidden, classes
        self.out = LocallyConnected(
            before, classes, sides, sides, padding_mode="valid", groups=groups
        )
        with torch.no_grad():
            self.out.weight.mul_(0.5**0.5)  # 1 / fan-in: no relu follows

    def forward(self, features: Tensor) -> Tensor:
        """(batch, classes) logits of features (batch, channels, *size)."""
        self.check(features)
        maps = features
        for sheet in self.sheets:
            maps = torch.relu(sheet(maps))
        logits: Tensor = self.out(maps).flatten(1)
        return logits
