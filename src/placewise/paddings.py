"""Padding rules: what stands beyond the border of a map.

A rule pads the last axes of a tensor, in 1, 2 or 3 dimensions. Each states its own facts, so that
nothing else needs to know the rules by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.family import Family


class PaddingRule(ABC):
    """What stands beyond the border.

    Attributes:
        mode: the name that `torch.nn.functional.pad` and `torch.nn.Conv2d` know the rule by.
        marks_border: whether a network can tell from the padding that a border is near.
    """

    mode: ClassVar[Literal["zeros", "reflect", "replicate", "circular"]]
    marks_border: ClassVar[bool]

    @abstractmethod
    def reach(self, length: int) -> int | None:
        """Most that one side of an axis of this length can be padded; None: any amount."""

    def pad(self, maps: torch.Tensor, widths: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Pad the last axes.

        Args:
            maps: (batch, channels, *axes) with 1, 2 or 3 axes.
            widths: (before, after) for each axis, in the order of the axes.

        Raises:
            SettingsError: an axis is too short for its padding.

        Example:
            >>> Replicate().pad(torch.tensor([[[1.0, 2.0]]]), [(1, 2)])
            tensor([[[1., 1., 2., 2., 2.]]])
        """
        for axis, (length, width) in enumerate(zip(maps.shape[2:], widths, strict=True)):
            reach = self.reach(length)
            if reach is not None and max(width) > reach:
                raise SettingsError(
                    f"axis {axis} of length {length} cannot be padded by {max(width)} with the "
                    f"rule '{self.mode}', which reaches {reach}; use 'zeros' or 'replicate', or "
                    "larger pictures"
                )
        flat = [width for pair in reversed(list(widths)) for width in pair]
        mode = "constant" if self.mode == "zeros" else self.mode
        return functional.pad(maps, flat, mode=mode)


class Zeros(PaddingRule):
    """Zeros: cheap, and a mark of the border that a network can read its place from."""

    mode = "zeros"
    marks_border = True

    def reach(self, length: int) -> int | None:
        """Any amount."""
        return None


class Replicate(PaddingRule):
    """The outermost value again and again."""

    mode = "replicate"
    marks_border = True

    def reach(self, length: int) -> int | None:
        """Any amount."""
        return None


class Reflect(PaddingRule):
    """The mirror image about the outermost pixel, which is not repeated."""

    mode = "reflect"
    marks_border = True

    def reach(self, length: int) -> int | None:
        """One less than the length."""
        return length - 1


class Circular(PaddingRule):
    """The opposite side: the map is a torus without a border."""

    mode = "circular"
    marks_border = False

    def reach(self, length: int) -> int | None:
        """The length."""
        return length


PADDINGS = Family("padding rule", PaddingRule, "placewise.paddings")
