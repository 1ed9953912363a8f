"""How much a remedy changes what a network gives, before the copy is trained further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.auditing import noise_images
from placewise.errors import SettingsError, first_line
from placewise.graph import tensors_of
from placewise.graph.noise import like_weights
from placewise.undisturbed import lacks_values, undisturbed
from placewise.wording import share

IMAGES = 4
"""Images of noise, if none are given."""

MODES = ("linear", "bilinear", "trilinear")
"""How images and maps are resized, by their number of axes."""


@dataclass(frozen=True)
class Effect:
    """How much the first output of a copy differs from that of the network.

    Attributes:
        images: number of images.
        source: "noise" or "images".
        change: size of the difference over the size of the output, ‖b − a‖ / ‖a‖; None if it
            cannot be measured.
        agreement: share of images, or of places of a map, at which the same channel is strongest;
            None if there is one channel.
        why: why it cannot be measured.

    Example:
        >>> Effect(4, "noise", 0.25, 0.75).said()
        'on 4 images of noise the output changes by 25 % of its size, and 75 % keep their class'
    """

    images: int
    source: str
    change: float | None = None
    agreement: float | None = None
    why: str = ""

    def said(self) -> str:
        """In words."""
        if self.change is None:
            return f"how much the output changes was not measured: {self.why}"
        of = " of noise" if self.source == "noise" else ""
        first = (
            f"on {self.images} images{of} the output changes by {share(self.change)} of its size"
        )
        return (
            first
            if self.agreement is None
            else f"{first}, and {share(self.agreement)} keep their class"
        )

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return dict(vars(self))


def probes(model: nn.Module, shape: Sequence[int], images: Tensor | None) -> tuple[Tensor, str]:
    """Images to run a network on, in its type and on its device, and their source."""
    source = "noise" if images is None else "images"
    found = noise_images(shape, IMAGES) if images is None else images
    return like_weights(model, found), source


def effect_of(
    model: nn.Module, copy: nn.Module, images: Tensor, source: str, sides: Sequence[int]
) -> Effect:
    """Run a network and its copy on the same images.

    Args:
        model: the network.
        copy: the mended one.
        images: (N, channels, *space) for the network.
        source: "noise" or "images".
        sides: of the images for the copy; they are resized if these differ.
    """
    count = len(images)
    try:
        old = _output(model, images)
        new = _output(copy, _resized(images, sides))
        if new.shape != old.shape and new.ndim > 2:
            new = _resized(new, old.shape[2:])
        difference, size = (new - old).norm(), old.norm()
    except Exception as error:  # a network can fail with any error
        return Effect(count, source, why=first_line(error))
    if not float(size) > 0:
        return Effect(count, source, why="the output is 0")
    same = None
    if old.ndim > 1 and old.shape[1] > 1:
        same = float((old.argmax(1) == new.argmax(1)).double().mean())
    return Effect(count, source, float(difference / size), same)


def _output(model: nn.Module, images: Tensor) -> Tensor:
    """The first output, in double precision."""
    with undisturbed(model), torch.no_grad():
        first = next(tensors_of(model(images)), None)
    if first is None:
        raise SettingsError("the network's output contains no tensor")
    if first.is_meta or lacks_values(model):
        raise SettingsError("the network's weights have no values: they are on the meta device")
    return first.double().cpu()


def _resized(maps: Tensor, sides: Sequence[int]) -> Tensor:
    if tuple(maps.shape[2:]) == tuple(sides):
        return maps
    mode = MODES[maps.ndim - 3]
    return functional.interpolate(maps, size=tuple(sides), mode=mode, align_corners=False)
