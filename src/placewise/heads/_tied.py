"""What class heads share whose places have weights of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from placewise.errors import SettingsError, ShapeError
from placewise.heads import ClassHead, check_features


class TiedHead(ClassHead):
    """A class head that is tied to maps of one size.

    Attributes:
        in_channels: of the features.
        size: of the features' map, one number for each of 1, 2 or 3 axes.
        does: what it does with the map, for the message when another size comes.
    """

    any_size = False
    does: ClassVar[str]

    def __init__(self, in_channels: int, classes: int, size: Sequence[int]) -> None:
        super().__init__()
        check_built(in_channels, classes, size)
        self.in_channels, self.size = in_channels, tuple(size)

    def check(self, features: Tensor) -> None:
        """Refuse features of another size.

        Raises:
            ShapeError: says what was got and what is needed.
        """
        check_features(features, self.in_channels, len(self.size))
        got = tuple(features.shape[1:])
        if got != (self.in_channels, *self.size):
            raise ShapeError(
                f"this head {self.does} maps of {self.in_channels} channels and {times(self.size)} "
                f"places, and each place has its own weights; it got {got[0]} channels and "
                f"{times(got[1:])} places. Bring the images to the size of the training, or "
                "train with the head 'convolutional', which takes any size"
            )


def check_built(in_channels: int, classes: int, size: Sequence[int]) -> None:
    """Refuse what no class head can be built with.

    Raises:
        SettingsError: says what was got and what is needed.
    """
    check_counts(in_channels=in_channels, classes=classes)
    if not 1 <= len(size) <= 3 or min(size) < 1:
        raise SettingsError(
            f"the size of the map is {tuple(size)}; it must have 1, 2 or 3 axes of at least one "
            "place. Larger images, or a backbone with fewer strides, give larger maps"
        )


MOST = 2**20
"""Largest count that a head takes: no list as long as that takes long."""

LAYERS = 100
"""Most hidden layers of a head."""


def check_counts(least: int = 1, most: int = MOST, **counts: int) -> None:
    """Refuse counts that are too small or too large.

    Raises:
        SettingsError: names the first of them.

    Example:
        >>> check_counts(hidden=100, layers=1)
    """
    for name, count in counts.items():
        if count < least:
            raise SettingsError(f"{name} is {count}; it must be {least} or more")
        if count > most:
            raise SettingsError(f"{name} is {count}; it must be {most} or less")


def check_share(dropout: float) -> None:
    """Refuse a dropout that is not a share.

    Raises:
        SettingsError: says what was got and what is needed.
    """
    if not 0 <= dropout < 1:
        raise SettingsError(f"dropout is {dropout}; it must be 0 or more and less than 1")


def begin(hidden: Iterable[Any], out: nn.Linear) -> None:
    """First weights that keep the size of the values: He et al. (2015), biases 0.

    Variance 2 / fan-in before a relu, 1 / fan-in before the answer, so that logits of features
    of mean square 1 begin with a variance of about 1.
    """
    for layer in hidden:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.kaiming_normal_(out.weight, nonlinearity="linear")
    nn.init.zeros_(out.bias)


def times(sides: Sequence[int]) -> str:
    """Sides as one reads them: 5×5.

    Example:
        >>> times((5, 5, 3))
        '5×5×3'
    """
    return "×".join(map(str, sides))
