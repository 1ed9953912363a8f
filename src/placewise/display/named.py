"""Show a network that is named on the command line."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from placewise.backbones import BACKBONES, Backbone
from placewise.display import Shown, show
from placewise.errors import SettingsError
from placewise.family import Setting, complete_settings
from placewise.geometry import Size
from placewise.heads import HEADS, Head
from placewise.target import find_target, parse_size

SIDE = 32
"""Pixels of a side of the image if no size is given."""

Settings = Mapping[str, Setting]


def show_target(
    text: str,
    *,
    size: str | None = None,
    in_channels: int | None = None,
    axes: int | None = None,
    example: str | None = None,
    classes: int = 10,
    backbone: Settings | None = None,
    head: Settings | None = None,
    paths: bool = True,
) -> Shown:
    """Show a network that is named on the command line, as `placewise show` does.

    Args:
        text: a backbone of placewise, BACKBONE+HEAD, or what `placewise.target.find_target` takes.
        size: sides of the image, see `placewise.target.parse_size`.
        in_channels: channels of the image.
        axes: of space, of a network that is not one of placewise.
        example: of what such a network takes, see `placewise.target.find_target`.
        classes: number of classes, or of keypoints if the head is for keypoints.
        backbone: settings of a backbone of placewise.
        head: settings of a head of placewise.
        paths: whether to count paths to each layer.

    Raises:
        SettingsError: there is no such network, or it cannot be built with these settings.

    Example:
        >>> show_target("lenet+flatten", in_channels=1, paths=False)
        Shown(lenet+flatten at 1@32×32: 16,644 parameters, 119,800 multiply-adds)
    """
    sides = parse_size(size)
    first, plus, second = text.partition("+")
    if not plus and (first not in BACKBONES.names() or head):
        if backbone or head:
            raise SettingsError(
                f"'{text}' has no backbone and head of placewise, so that it takes no settings for "
                "them; give BACKBONE+HEAD, e.g. lenet+flatten"
            )
        found = find_target(
            text,
            size=sides,
            in_channels=in_channels,
            axes=axes,
            example=example,
            notice=lambda words: None,
        )
        named: Any = {"example": found.example, "name": found.name, "paths": paths}
        return show(found.model, found.shape, **named)
    if example is not None or axes not in (None, 2):
        raise SettingsError(
            f"'{text}' takes images; leave --input out, and --axes, or give --axes 2"
        )
    member: Any = BACKBONES[first]
    given = complete_settings(member, "backbone", backbone or {})
    trunk: Backbone = member(in_channels or 3, **given)
    image = _image(first, trunk, sides)
    parts: OrderedDict[str, nn.Module] = OrderedDict(backbone=trunk)
    if plus:
        parts["head"] = _head(second, trunk, image, classes, head or {})
    return show(nn.Sequential(parts), (in_channels or 3, *image), name=text, paths=paths)


def _image(name: str, backbone: Backbone, sides: Sequence[int]) -> Size:
    """(height, width), or an error if the backbone does not take them."""
    least = -(-SIDE // backbone.multiple) * backbone.multiple
    image = tuple(sides) * (2 if len(sides) == 1 else 1) or (least, least)
    if len(image) != 2 or any(side % backbone.multiple for side in image):
        raise SettingsError(
            f"the image has {'×'.join(map(str, image))} px; the backbone '{name}' needs two sides "
            f"that are multiples of {backbone.multiple}"
        )
    return image[0], image[1]


def _head(name: str, backbone: Backbone, image: Size, count: int, settings: Settings) -> Head:
    """A head on a backbone, for so many classes or keypoints."""
    member: Any = HEADS[name]
    given = complete_settings(member, "head", settings)
    made: Head = member.on(backbone, count, image, given)
    return made
