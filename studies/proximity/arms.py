"""The arms: one small net with many heads, and a net of sheets without any convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import nn

from placewise.backbones.lenet import LeNet
from placewise.heads import HEADS
from placewise.heads.sheet import Sheet
from placewise.layers.convolution import Convolution
from placewise.layers.proximity import Nearness, Places, Proximity
from studies._wiring.rewiring import Growth, Schedule
from studies.flattening.place import Reorder

Wired = Literal["near", "random", "permuted"]

REACHES = (0.75, 1.5, math.inf)
"""λ in pixels of the map of 5 × 5, from local to anywhere."""

NEAREST = 1e-3
"""A reach far below the distance of places: only the nearest inputs."""

EVERY, SHARE, UNTIL = 100, 0.3, 0.75
"""Steps from one rewiring to the next, share at first, and up to which share of the training."""


class Net(Protocol):
    """An arm: a net that is built anew for each seed."""

    @property
    def name(self) -> str:
        """As the page tells it."""

    def build(self, channels: int, side: int, seed: int) -> nn.Sequential:
        """The net as its training begins; torch's own randomness draws its weights.

        Args:
            channels: of the images.
            side: of the images, in pixels.
            seed: of what is drawn beside the weights.
        """


@dataclass(frozen=True)
class Arm:
    """A head on the small net.

    Attributes:
        name: as the page tells it.
        head: member of `HEADS`.
        settings: keywords of its constructor.
        permuted: whether the places of its map stand in a fixed random order, one for each seed.
        growth: by which rule its connections change in training; None: they stay.
    """

    name: str
    head: str
    settings: dict[str, Any] = field(default_factory=dict)
    permuted: bool = False
    growth: Growth | None = None

    def build(self, channels: int, side: int, seed: int) -> nn.Sequential:
        """The small net that this project began with, under the head; see `Net.build`.

        The trunk is drawn first, so a seed gives every arm the same.
        """
        trunk = LeNet(channels)
        size = trunk.size((side, side))
        member: Any = HEADS[self.head]
        net = nn.Sequential(trunk)
        if self.permuted:
            net.append(Reorder(permutation(math.prod(size), seed)))
        return net.append(member(trunk.out_channels, 10, size, **self.settings))

    def rewiring(self, steps: int) -> tuple[Growth, Schedule] | None:
        """By which rule and when its connections change in a training of so many steps."""
        if self.growth is None:
            return None
        return self.growth, Schedule(max(1, round(UNTIL * steps)), EVERY, SHARE)


def wired(reach: float) -> dict[str, Any]:
    """Settings of the head `proximity` at a reach."""
    return {"far": 1.0} if reach == math.inf else {"reach": reach}


def rewired(reach: float, gradient: float) -> Arm:
    """A corner or an inner point of the rewiring family: connections come by |g|^γ and nearness."""
    growth = Growth(Nearness(reach), gradient, noise=1.0 - gradient)
    name = f"rewired, γ = {gradient:g}, λ = {told(reach)}"
    return Arm(name, "proximity", wired(reach), growth=growth)


def fixed(reach: float) -> Arm:
    """Connections drawn once at a reach."""
    return Arm(f"fixed, λ = {told(reach)}", "proximity", wired(reach))


def told(reach: float) -> str:
    """A reach as the page tells it."""
    return "∞" if reach == math.inf else f"{reach:g}"


LOCAL = Arm("local", "sheet")
RANDOM = Arm("random", "proximity", wired(math.inf))
PERMUTED = Arm("local, permuted", "sheet", permuted=True)
BEST = Arm("best inputs", "proximity", wired(math.inf), growth=Growth.rigl())
FLAT = Arm("flatten", "flatten")
AVERAGE = Arm("average", "convolutional")
PALM = Arm("palm tree", "palm_tree")

MAIN = (
    LOCAL,
    RANDOM,
    PERMUTED,
    BEST,
    FLAT,
    Arm("flatten, dropout", "flatten", {"dropout": 0.25}),
    Arm("flatten, as many units", "flatten", {"hidden": 250}),
    AVERAGE,
    Arm("low rank", "low_rank", {"kind": "cp", "rank": 84}),
    PALM,
)
"""The arms on the same trunk; the first four have identical weights and multiply-adds."""

WIDENED = Arm("average, widened", "convolutional", {"hidden": 945})
"""As many parameters as the flattened head, at more than twice the multiply-adds of the net."""

FAMILY = (
    *(fixed(reach) for reach in REACHES[:-1]),
    *(rewired(reach, 0.0) for reach in REACHES),
    *(rewired(reach, 1.0) for reach in REACHES[:-1]),
)
"""What the rewiring family has beside `RANDOM` (fixed, λ = ∞) and `BEST` (γ = 1, λ = ∞)."""


# --- without a convolution -----------------------------------------------------------------------


@dataclass(frozen=True)
class Sheets:
    """Two sheets of units over the image itself, wired in one of three ways.

    Attributes:
        name: as the page tells it.
        wired: to the nearest units, to random ones, or to the nearest with the places of the
            image in a fixed random order, one for each seed.
        widths: units at each place of the sheets, each half as long as the one before.
        fan_in: inputs of each unit of the sheets.
    """

    name: str
    wired: Wired
    widths: tuple[int, ...] = (4, 16)
    fan_in: tuple[int, ...] = (25, 36)

    def build(self, channels: int, side: int, seed: int) -> nn.Sequential:
        """The net; see `Net.build`."""
        places, parts = Places((side, side), channels), nn.Sequential()
        if self.wired == "permuted":
            parts.append(Reorder(permutation(side**2, seed)))
        reach = Nearness(math.inf if self.wired == "random" else NEAREST)
        for width, fan_in in zip(self.widths, self.fan_in, strict=True):
            units = places.resized([-(-length // 2) for length in places.shape], width)
            parts.extend([Proximity(places, units, fan_in, reach), nn.ReLU()])
            places = units
        return parts.extend([nn.Flatten(), answer(places.units)])


@dataclass(frozen=True)
class Dense:
    """A fully connected hidden layer on the image itself.

    Attributes:
        name: as the page tells it.
        hidden: its units.
    """

    name: str
    hidden: int

    def build(self, channels: int, side: int, seed: int) -> nn.Sequential:
        """The net; see `Net.build`."""
        member: Any = HEADS["flatten"]
        return nn.Sequential(member(channels, 10, (side, side), hidden=self.hidden))


@dataclass(frozen=True)
class Deep:
    """A sheet on a usual trunk: three convolutions, each normalised and pooled.

    Attributes:
        name: as the page tells it.
        widths: maps of the convolutions.
    """

    name: str
    widths: tuple[int, ...] = (16, 32, 64)

    def build(self, channels: int, side: int, seed: int) -> nn.Sequential:
        """The net; see `Net.build`."""
        net = nn.Sequential()
        for width in self.widths:
            layer = Convolution(channels, width, 3, padding_mode="zeros")
            net.extend([layer, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)])
            channels, side = width, side // 2
        return net.append(Sheet(channels, 10, (side, side), window=2))


DEEP = Deep("deep")

PIXELS = (
    Sheets("near", "near"),
    Sheets("random", "random"),
    Sheets("near, permuted", "permuted"),
    Dense("fully connected", 71),
)
"""The arms without a convolution; the first three have identical weights and multiply-adds."""


def permutation(places: int, seed: int) -> torch.Tensor:
    """The fixed random order of places that belongs to a seed."""
    return torch.randperm(places, generator=torch.Generator().manual_seed(seed))


def answer(units: int) -> nn.Linear:
    """The last layer, which begins as those of the heads do."""
    last = nn.Linear(units, 10)
    nn.init.kaiming_normal_(last.weight, nonlinearity="linear")
    nn.init.zeros_(last.bias)
    return last
