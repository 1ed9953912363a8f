"""Padding rules: what stands beyond the border of a map.

A rule pads the last axes of a tensor, in 1, 2 or 3 dimensions. Each states its own facts, so that
nothing else needs to know the rules by name. `placewise.layers.convolution` and its neighbours take
any of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.errors import SettingsError, ShapeError
from placewise.family import Family

TorchMode = Literal["zeros", "reflect", "replicate", "circular"]

Widths = Sequence[tuple[int, int]]
"""(before, after) for each axis: places to add."""


class _Mode:
    """The name that torch knows a rule by, or an error that says where to use the rule instead."""

    def __get__(self, rule: PaddingRule | None, member: type[PaddingRule]) -> TorchMode:
        if member.torch_mode is None:
            raise SettingsError(
                f"torch.nn.Conv2d does not know the padding rule '{PADDINGS.name_of(member)}'; use "
                "'zeros', 'reflect', 'replicate' or 'circular' here, or a layer of "
                "placewise.layers, which takes every rule"
            )
        return member.torch_mode


class PaddingRule(ABC):
    """What stands beyond the border.

    Args:
        channels: of the maps, for a rule that learns; 1 shares what is learned among all.

    Attributes:
        mode: the name that `torch.nn.functional.pad` and `torch.nn.Conv2d` know the rule by.
        marks_border: whether a network can tell from the padding that a border is near. It cannot
            where results move with the map on a torus, or do not hang on where the map was cut.
        uniform_paths: whether every place of the map is in the same number of windows, after any
            number of layers with windows of any odd size.
        keeps_size: whether results of stride 1 have the size of the map.
        adds_zeros: whether it adds zeros, so that a convolution can do that by itself.
        renormalises: whether windows leave out what lies beyond: a result is multiplied by
            the window's size and divided by what of the window is inside, and a maximum ignores
            the rest.
    """

    torch_mode: ClassVar[TorchMode | None] = None
    mode = _Mode()
    marks_border: ClassVar[bool]
    uniform_paths: ClassVar[bool]
    keeps_size: ClassVar[bool] = True
    adds_zeros: ClassVar[bool] = False
    renormalises: ClassVar[bool] = False

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels

    def margins(self, extent: int) -> tuple[int, int]:
        """Places to add before and after an axis for windows that are so many places long.

        Example:
            >>> Zeros().margins(3), Zeros().margins(4), Full().margins(3), Valid().margins(3)
            ((1, 1), (1, 2), (2, 2), (0, 0))
        """
        return (extent - 1) // 2, extent // 2

    @abstractmethod
    def reach(self, length: int) -> int | None:
        """Most that one side of an axis of this length can be padded; None: any amount."""

    def pad(self, maps: Tensor, widths: Widths) -> Tensor:
        """Pad the last axes.

        Args:
            maps: (batch, channels, *axes) with 1, 2 or 3 axes.
            widths: (before, after) for each axis, in the order of the axes.

        Raises:
            ShapeError: an axis is too short for its padding.

        Example:
            >>> Replicate().pad(torch.tensor([[[1.0, 2.0]]]), [(1, 2)])
            tensor([[[1., 1., 2., 2., 2.]]])
        """
        for axis, (length, width) in enumerate(zip(maps.shape[2:], widths, strict=True)):
            reach = self.reach(length)
            if reach is not None and max(width) > reach:
                raise ShapeError(
                    f"axis {axis} of length {length} cannot be padded by {max(width)} with the "
                    f"rule '{PADDINGS.name_of(type(self))}', which reaches {reach}; use 'zeros' "
                    "or 'replicate', or larger images"
                )
        return self._extend(maps, widths) if any(map(any, widths)) else maps

    def _extend(self, maps: Tensor, widths: Widths) -> Tensor:
        """Pad by widths that are within reach."""
        flat = [width for pair in reversed(list(widths)) for width in pair]
        if self.torch_mode in (None, "zeros"):
            return functional.pad(maps, flat)
        return functional.pad(maps, flat, mode=str(self.torch_mode))


class Zeros(PaddingRule):
    """Zeros: cheap, and a mark of the border that a network can read its place from."""

    torch_mode = "zeros"
    marks_border = True
    uniform_paths = False
    adds_zeros = True

    def reach(self, length: int) -> int | None:
        """Any amount."""
        return None


class Valid(PaddingRule):
    """Nothing: windows stay inside, and results are smaller than the map.

    No border can be seen, but places at it are in few windows: after n layers of window k, an
    outermost place of one axis is in one of the k^n ways of a place in the middle.
    """

    marks_border = False
    uniform_paths = False
    keeps_size = False

    def margins(self, extent: int) -> tuple[int, int]:
        """None."""
        return 0, 0

    def reach(self, length: int) -> int | None:
        """Nothing is added."""
        return 0


class Full(PaddingRule):
    """Zeros, one fewer on each side than the window is long: every place is in all its windows.

    Results are larger than the map, by one less than the window. What lies on a map of zeros
    gives the same results wherever it lies, for nothing of them is cut off. Called F-Conv in
    "On Translation Invariance in CNNs" (Kayhan and van Gemert, CVPR 2020).
    """

    marks_border = True
    uniform_paths = True
    keeps_size = False
    adds_zeros = True

    def margins(self, extent: int) -> tuple[int, int]:
        """One less than the window on either side."""
        return extent - 1, extent - 1

    def reach(self, length: int) -> int | None:
        """Any amount."""
        return None


class Partial(PaddingRule):
    """Zeros that count as not there: results are renormalised by what of the window is inside.

    y(p) = k^d / inside(p) · Σ w·x + b for windows of k^d places, of which inside(p) lie on the map:
    "Partial Convolution based Padding" (Liu et al., 2018). A constant map stays constant under an
    average.
    """

    marks_border = True
    uniform_paths = False
    adds_zeros = True
    renormalises = True

    def reach(self, length: int) -> int | None:
        """Any amount."""
        return None


class _Copy(PaddingRule):
    """A rule by which each place beyond the border holds what one place of the map holds."""

    @abstractmethod
    def source(self, places: Tensor, length: int) -> Tensor:
        """The place of the map that each place, inside or beyond, is a copy of."""

    def once(self, length: int) -> int:
        """How far one copy of the map reaches; further on, places are looked up by `source`."""
        return length

    def reach(self, length: int) -> int | None:
        """Any amount."""
        return None

    def _extend(self, maps: Tensor, widths: Widths) -> Tensor:
        near = [self.once(length) for length in maps.shape[2:]]
        if all(max(pair) <= n for n, pair in zip(near, widths, strict=True)):
            return self._extend_once(maps, widths)
        for dim, (before, after) in enumerate(widths, 2):
            length = maps.shape[dim]
            places = torch.arange(-before, length + after, device=maps.device)
            maps = maps.index_select(dim, self.source(places, length))
        return maps

    def _extend_once(self, maps: Tensor, widths: Widths) -> Tensor:
        return super()._extend(maps, widths)


class Replicate(_Copy):
    """The outermost value again and again.

    Paths are even for windows of three; for longer ones the outermost places are in more.
    """

    torch_mode = "replicate"
    marks_border = True
    uniform_paths = False

    def source(self, places: Tensor, length: int) -> Tensor:
        """The nearest place."""
        return places.clamp(0, length - 1)


class Reflect(_Copy):
    """The mirror image about the outermost pixel, which is not repeated."""

    torch_mode = "reflect"
    marks_border = True
    uniform_paths = False

    def reach(self, length: int) -> int | None:
        """Any amount, to and fro; nothing of a single place."""
        return 0 if length == 1 else None

    def once(self, length: int) -> int:
        """One less than the length."""
        return length - 1

    def source(self, places: Tensor, length: int) -> Tensor:
        """Folded about the first and the last place."""
        turn = max(1, length - 1)
        return turn - (places % (2 * turn) - turn).abs()


class Circular(_Copy):
    """The opposite side: the map is a torus without a border."""

    torch_mode = "circular"
    marks_border = False
    uniform_paths = True

    def source(self, places: Tensor, length: int) -> Tensor:
        """Modulo the length."""
        return places % length


class Symmetric(_Copy):
    """The mirror image about the border itself, so that the outermost value is repeated.

    A map with its mirror image is a torus, which is why every place is in as many windows as any
    other, however deep the network ("Mind the Pad", Alsallakh et al., ICLR 2021).

    Example:
        >>> Symmetric().pad(torch.tensor([[[1.0, 2.0, 3.0]]]), [(2, 1)])
        tensor([[[2., 1., 1., 2., 3., 3.]]])
    """

    marks_border = True
    uniform_paths = True

    def source(self, places: Tensor, length: int) -> Tensor:
        """Folded about both ends."""
        folded = places % (2 * length)
        return torch.minimum(folded, 2 * length - 1 - folded)

    def _extend_once(self, maps: Tensor, widths: Widths) -> Tensor:
        for dim, (before, after) in enumerate(widths, 2):
            start = maps.narrow(dim, 0, before).flip(dim)
            end = maps.narrow(dim, maps.shape[dim] - after, after).flip(dim)
            if before or after:
                maps = torch.cat((start, maps, end), dim)
        return maps


class Distribution(PaddingRule):
    """Means of patches at the border, so that the statistics there go on beyond it.

    The variant "mean interpolation" of "Distribution Padding in Convolutional Neural Networks"
    (Nguyen et al., ICIP 2019): means over all windows of 2m + 1 places, m the margin, are stretched
    (linearly) to the padded size; the map itself is put back in the middle. Where an axis is
    shorter than the window, the window is the largest odd one that fits. Gradients go through the
    means.

    Example:
        >>> Distribution().pad(torch.tensor([[[0.0, 3.0, 6.0, 9.0]]]), [(1, 1)])
        tensor([[[3., 0., 3., 6., 9., 6.]]])
    """

    marks_border = True
    uniform_paths = False

    def reach(self, length: int) -> int | None:
        """Any amount."""
        return None

    def _extend(self, maps: Tensor, widths: Widths) -> Tensor:
        sides, margins = maps.shape[2:], [max(pair) for pair in widths]
        windows = [min(2 * m + 1, n - 1 + n % 2) for n, m in zip(sides, margins, strict=True)]
        average = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)
        kind = ("linear", "bilinear", "trilinear")[len(sides) - 1]
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
        means = average[len(sides) - 1](wide, windows, stride=1)
        stretched = [n + 2 * m for n, m in zip(sides, margins, strict=True)]
        around = functional.interpolate(means, size=stretched, mode=kind).to(maps.dtype)
        for dim, (margin, (before, after)) in enumerate(zip(margins, widths, strict=True), 2):
            length = before + maps.shape[dim] + after
            around = around.narrow(dim, margin - before, length)
        return _surrounded(maps, around, widths)


def _surrounded(maps: Tensor, around: Tensor, widths: Widths) -> Tensor:
    """The maps, and about them what a padded tensor holds there."""
    for dim, (before, after) in enumerate(widths, 2):
        side = around
        for other, (skip, _) in enumerate(widths[dim - 1 :], dim + 1):
            side = side.narrow(other, skip, maps.shape[other])
        start = side.narrow(dim, 0, before)
        end = side.narrow(dim, before + maps.shape[dim], after)
        maps = torch.cat((start, maps, end), dim)
    return maps


class Learned(PaddingRule, nn.Module):
    """Each place beyond the border is a learned function of the two places before it.

    Going outwards along an axis, y(t) = a·y(t−1) + b·y(t−2) + c with a, b, c of each channel, the
    same at both ends of every axis, so that left and right are treated alike. It begins as
    `replicate` (a, b, c = 1, 0, 0); `zeros` is 0, 0, 0, for a margin of one `reflect` is 0, 1, 0,
    and linear extrapolation is 2, −1, 0. To predict padding from its neighbours, channel by
    channel, is the idea of the Padding Module (Alrasheedi et al., 2023), which trains its own by a
    loss of its own; here the network's loss trains it.

    Example:
        >>> rule = Learned()
        >>> with torch.no_grad():
        ...     _ = rule.steps.copy_(torch.tensor([[2.0, -1.0]]))
        >>> rule.pad(torch.tensor([[[1.0, 2.0, 4.0]]]), [(1, 2)]).tolist()
        [[[0.0, 1.0, 2.0, 4.0, 6.0, 8.0]]]
    """

    marks_border = True
    uniform_paths = False

    def __init__(self, channels: int = 1) -> None:
        super().__init__(channels)
        self.steps = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(channels, 1))
        self.offset = nn.Parameter(torch.zeros(channels))

    def reach(self, length: int) -> int | None:
        """Any amount; a single place counts as two."""
        return None

    def _extend(self, maps: Tensor, widths: Widths) -> Tensor:
        if self.channels not in (1, maps.shape[1]):
            raise ShapeError(
                f"padding was learned for {self.channels} channels, and the maps have "
                f"{maps.shape[1]}; make the rule with channels={maps.shape[1]}, or 1 for all"
            )
        for dim, (before, after) in enumerate(widths, 2):
            start = self._outwards(maps, dim, before, [0, 1])
            end = self._outwards(maps, dim, after, [-1, -2])
            maps = torch.cat([*reversed(start), maps, *end], dim)
        return maps

    def _outwards(self, maps: Tensor, dim: int, count: int, ends: list[int]) -> list[Tensor]:
        """So many slices beyond one end of an axis, the nearest first."""
        shape = (-1, *[1] * (maps.ndim - 2))
        first, second = (self.steps[:, n].view(shape) for n in (0, 1))
        length, offset = maps.shape[dim], self.offset.view(shape)
        near, next_ = (
            maps.select(dim, place if length > 1 else 0).unsqueeze(dim) for place in ends
        )
        beyond = []
        for _ in range(count):
            near, next_ = first * near + second * next_ + offset, near
            beyond.append(near)
        return beyond


PADDINGS = Family("padding rule", PaddingRule, "placewise.paddings")
