"""What a model has to know of a backbone, also of one that is not ours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from placewise.backbones import CONVOLUTIONS, Backbone
from placewise.errors import ShapeError
from placewise.geometry import Size
from placewise.model.inputs import InputSettings
from placewise.model.kinds import AXES
from placewise.undisturbed import undisturbed

SIDES = (64, 128)
"""Sides of the images that a backbone is tried with."""

LEAST = 32
"""Side from which multiples are tried."""


@dataclass(frozen=True)
class Facts:
    """What is known of a backbone.

    Attributes:
        stride: image pixels for one pixel of its features.
        multiple: sides of images that it takes are multiples of this.
        input: how images are brought to it where nobody says: as they are, in 0..1.
    """

    stride: int
    multiple: int
    input: InputSettings


def facts_of(backbone: nn.Module, input: InputSettings | None = None) -> Facts:
    """Facts of a backbone: ours states them, any other is tried on zeros.

    Args:
        backbone: images (batch, channels, *size) to features, of 1, 2 or 3 axes.
        input: how images are brought to it, where that is known.

    Raises:
        ShapeError: it does not give features of one stride.

    Example:
        >>> facts = facts_of(nn.Conv2d(3, 8, 4, stride=4))
        >>> facts.stride, facts.multiple, facts.input.channels
        (4, 4, 3)
    """
    if isinstance(backbone, Backbone) and input is not None:
        return Facts(backbone.stride, backbone.multiple, input)
    axes = input.axes if input else _axes(backbone)
    probe = _Probe(backbone, input.channels if input else _channels(backbone), axes)
    with undisturbed(backbone), torch.no_grad():
        stride = _stride(probe)
        multiple = next((m for m in _multiples(stride) if _fits(probe, m, stride)), 0)
    if not multiple:
        raise ShapeError(
            f"the backbone gives no features of stride {stride} for any multiple up to "
            f"{16 * stride}: pad its convolutions so that sides shrink by strides alone"
        )
    default = InputSettings(
        scale=1.0,
        size=(SIDES[0],) * axes,
        channels=probe.channels,
        mean=(0.0,) * probe.channels,
        std=(1.0,) * probe.channels,
    )
    return Facts(stride, multiple, input or default)


def zeros(network: nn.Module, channels: int, size: Size) -> Tensor:
    """(1, channels, *size) of zeros, of the type and on the device of a network."""
    first = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, channels, *size).to(first)


def _channels(backbone: nn.Module) -> int:
    """Channels that its first convolution takes."""
    first = next((m for m in backbone.modules() if isinstance(m, CONVOLUTIONS)), None)
    return 3 if first is None else first.in_channels


def _axes(backbone: nn.Module) -> int:
    """Axes of the images that its first convolution takes."""
    kinds = (type(m) for m in backbone.modules() if isinstance(m, CONVOLUTIONS))
    first = next(kinds, nn.Conv2d)
    return next(i for i, kind in enumerate(CONVOLUTIONS, 1) if issubclass(first, kind))


@dataclass(frozen=True)
class _Probe:
    """A backbone with the channels and the axes of the images that it is tried on."""

    backbone: nn.Module
    channels: int
    axes: int

    def side(self, side: int) -> int | None:
        """Side of the features of a square image; None where the backbone does not take it."""
        try:
            features = self.backbone(zeros(self.backbone, self.channels, (side,) * self.axes))
        except RuntimeError:
            return None
        fits = isinstance(features, Tensor) and features.ndim == self.axes + 2
        if not fits or len({*features.shape[2:]}) > 1:
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise ShapeError(
                f"the backbone gave {got} for an image of {'×'.join([str(side)] * self.axes)} px; "
                f"it must give features (batch, channels, {AXES[self.axes]}), with the same stride "
                f"along {'both' if self.axes == 2 else 'all'} axes"
            )
        return int(features.shape[-1])


def _stride(probe: _Probe) -> int:
    small, large = (probe.side(side) for side in SIDES)
    channels = probe.channels
    if small is None or large is None:
        first = _channels(probe.backbone)
        raise ShapeError(
            f"the backbone cannot take images of {channels} channels and {SIDES[0]} or "
            f"{SIDES[1]} px"
            + (f" (its first convolution takes {first} channels)" if first != channels else "")
            + f"; it must take {channels} channels and images of several sizes"
        )
    if large <= small:
        raise ShapeError(
            f"the backbone gave features of sides {small} and {large} for images of {SIDES[0]} and "
            f"{SIDES[1]} px with {channels} channels; they must grow with the image"
        )
    return round((SIDES[1] - SIDES[0]) / (large - small))


def _multiples(stride: int) -> list[int]:
    return [stride * 2**power for power in range(5)]


def _fits(probe: _Probe, multiple: int, stride: int) -> bool:
    """Whether odd multiples are taken, and shrink by the stride alone."""
    odd = -(-LEAST // multiple) | 1
    sides = (multiple * odd, multiple * (odd + 2))
    return all(probe.side(side) == side // stride for side in sides)
