"""Take every second place, and choose by the map itself which: adaptive polyphase sampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from placewise.errors import SettingsError
from placewise.geometry import Size
from placewise.layers import Layer
from placewise.layers._windows import Each, each
from placewise.paddings import PADDINGS


class Polyphase(Layer):
    """Of the ways to take every `stride`-th place, the one whose values have the largest norm.

    There are Π stride ways to begin (phases). For each map of the batch, one phase is taken for all
    channels: argmax over phases of ‖·‖_p. A map that is shifted on a torus has the same phases in
    another order, so what is taken is the same, shifted: "Truly Shift-Invariant Convolutional
    Neural Networks" (Chaman and Dokmanić, CVPR 2021). For this to hold through a whole network,
    convolutions need the padding `circular`, and sizes must be multiples of the strides.

    Where two ways must agree (a residual and its shortcut), choose once with `phase` and take from
    both with `take`.

    Args:
        in_channels: of the maps.
        stride: from one place that is taken to the next.
        padding_mode: member of `PADDINGS` that fills sizes up to a multiple of the stride.
        order: p of the norm, 1 or more.
        spatial_dims: 1, 2 or 3 axes.

    Example:
        >>> Polyphase(1, spatial_dims=1)(torch.tensor([[[1.0, 5.0, 2.0, 4.0]]]))
        tensor([[[5., 4.]]])
    """

    def __init__(
        self,
        in_channels: int,
        stride: Each = 2,
        padding_mode: str = "replicate",
        *,
        order: float = 2.0,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if order < 1:
            raise SettingsError(f"order is {order}; a norm has an order of 1 or more")
        self.in_channels = self.out_channels = in_channels
        self.stride = each(stride, spatial_dims, "stride")
        self.spatial_dims, self.order = spatial_dims, order
        self.rule = PADDINGS[padding_mode](in_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, *size_after) of maps (batch, channels, *size)."""
        self.check(maps)
        return self.take(maps, self.phase(maps))

    def phase(self, maps: Tensor) -> Tensor:
        """(batch,) numbers of the phases of the largest norm; of equal ones the first."""
        wide = torch.promote_types(maps.dtype, torch.float32)
        apart = self._apart(maps.detach().to(wide)).flatten(2)
        norms: Tensor = torch.linalg.vector_norm(apart, self.order, dim=2)
        return norms.argmax(1)

    def take(self, maps: Tensor, phase: Tensor) -> Tensor:
        """The places of a phase.

        Args:
            maps: (batch, channels, *size).
            phase: (batch,) what `phase` gave for maps of this size.
        """
        return self._apart(maps)[torch.arange(maps.shape[0], device=maps.device), phase]

    def size_after(self, size: Sequence[int]) -> Size:
        """One place for each stride, begun ones too."""
        return tuple(-(-n // stride) for n, stride in zip(size, self.stride, strict=True))

    def _apart(self, maps: Tensor) -> Tensor:
        """(batch, phases, channels, *size_after): every phase by itself."""
        missing = zip(maps.shape[2:], self.stride, strict=True)
        maps = self.rule.pad(maps, [(0, -n % stride) for n, stride in missing])
        for axis, stride in enumerate(self.stride):
            maps = torch.unflatten(maps, 2 + 2 * axis, (-1, stride))
        axes = range(self.spatial_dims)
        order = [0, *(3 + 2 * a for a in axes), 1, *(2 + 2 * a for a in axes)]
        return maps.permute(order).flatten(1, self.spatial_dims)
