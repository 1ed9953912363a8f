"""Take every second place, and choose by the map itself which: adaptive polyphase sampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from placewise.errors import SettingsError
from placewise.layers import Layer, Sides
from placewise.layers._windows import Each, each
from placewise.paddings import PADDINGS


class Polyphase(Layer):
    """Of the ways to take every `stride`-th place, the one whose values have the largest norm.

    There are Π stride ways to begin (phases). For each map of the batch, one phase is taken for all
    channels: argmax over phases of ‖·‖_p. A map that is shifted on a torus has the same phases in
    another order, so what is taken is the same, shifted: "Truly Shift-Invariant Convolutional
    Neural Networks" (Chaman and Dokmanić, CVPR 2021). For this to hold through a whole network,
    convolutions need the padding `circular`, and sides must be multiples of the strides.

    Where two ways must agree (a residual and its shortcut), choose once with `phase` and take from
    both with `take`.

    Args:
        channels: of the maps.
        stride: from one place that is taken to the next.
        dimensions: 1, 2 or 3 axes.
        order: p of the norm, 1 or more.
        padding: member of `PADDINGS` that fills sides up to a multiple of the stride.

    Example:
        >>> Polyphase(1, dimensions=1)(torch.tensor([[[1.0, 5.0, 2.0, 4.0]]]))
        tensor([[[5., 4.]]])
    """

    def __init__(
        self,
        channels: int,
        stride: Each = 2,
        *,
        dimensions: int = 2,
        order: float = 2.0,
        padding: str = "replicate",
    ) -> None:
        super().__init__()
        if order < 1:
            raise SettingsError(f"order is {order}; a norm has an order of 1 or more")
        self.channels = self.out_channels = channels
        self.stride = each(stride, dimensions, "stride")
        self.dimensions, self.order = dimensions, order
        self.rule = PADDINGS[padding](channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *sides_after) of maps (batch, channels, *sides)."""
        self.check(maps)
        return self.take(maps, self.phase(maps))

    def phase(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch,) numbers of the phases of the largest norm; of equal ones the first."""
        wide = torch.promote_types(maps.dtype, torch.float32)
        apart = self._apart(maps.detach().to(wide)).flatten(2)
        norms: torch.Tensor = torch.linalg.vector_norm(apart, self.order, dim=2)
        return norms.argmax(1)

    def take(self, maps: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
        """The places of a phase.

        Args:
            maps: (batch, channels, *sides).
            phase: (batch,) what `phase` gave for maps of these sides.
        """
        return self._apart(maps)[torch.arange(maps.shape[0], device=maps.device), phase]

    def sides_after(self, sides: Sequence[int]) -> Sides:
        """One place for each stride, begun ones too."""
        return tuple(-(-n // stride) for n, stride in zip(sides, self.stride, strict=True))

    def _apart(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, phases, channels, *sides_after): every phase by itself."""
        missing = zip(maps.shape[2:], self.stride, strict=True)
        maps = self.rule.pad(maps, [(0, -n % stride) for n, stride in missing])
        for axis, stride in enumerate(self.stride):
            maps = torch.unflatten(maps, 2 + 2 * axis, (-1, stride))
        axes = range(self.dimensions)
        order = [0, *(3 + 2 * a for a in axes), 1, *(2 + 2 * a for a in axes)]
        return maps.permute(order).flatten(1, self.dimensions)
