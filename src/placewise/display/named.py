"""From a name on the command line to a network that is shown."""

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
"""Pixels of a side of the image where nothing says how large it is."""

Settings = Mapping[str, Setting]


def show_target(
    text: str,
    *,
    size: str | None = None,
    channels: int | None = None,
    classes: int = 10,
    backbone: Settings | None = None,
    head: Settings | None = None,
    paths: bool = True,
) -> Shown:
    """Show a network that is named on the command line, as `placewise show` does.

    Args:
        text: a backbone of ours, BACKBONE+HEAD, or what `placewise.target.find_target` takes.
        size: sides of the image, see `placewise.target.parse_size`.
        channels: of the image.
        classes: of a head for classes; points of a head for keypoints.
        backbone: settings of a backbone of ours.
        head: settings of a head of ours.
        paths: whether to count ways to each layer.

    Raises:
        SettingsError: there is no such network, or it cannot be built so.

    Example:
        >>> show_target("lenet+flatten", channels=1, paths=False)
        Shown(lenet+flatten at 1@32×32: 16,644 parameters, 119,800 multiply-adds)
    """
    sides = parse_size(size) if size else ()
    first, plus, second = text.partition("+")
    if not plus and (first not in BACKBONES.names() or head):
        if backbone or head:
            raise SettingsError(
                f"'{text}' is not made of a backbone and a head of ours, so it takes no settings "
                "of them; needed is BACKBONE+HEAD, e.g. lenet+flatten"
            )
        found = find_target(text, size=sides, channels=channels, notice=lambda words: None)
        return show(found.model, found.shape, name=found.name, paths=paths)
    member: Any = BACKBONES[first]
    given = complete_settings(member, "backbone", backbone or {})
    trunk: Backbone = member(channels or 3, **given)
    image = _image(first, trunk, sides)
    parts: OrderedDict[str, nn.Module] = OrderedDict(backbone=trunk)
    if plus:
        parts["head"] = _head(second, trunk, image, classes, head or {})
    return show(nn.Sequential(parts), (channels or 3, *image), name=text, paths=paths)


def _image(name: str, backbone: Backbone, sides: Sequence[int]) -> Size:
    """(height, width), or an error where the backbone does not take them."""
    least = -(-SIDE // backbone.multiple) * backbone.multiple
    image = tuple(sides) * (2 if len(sides) == 1 else 1) or (least, least)
    if len(image) != 2 or any(side % backbone.multiple for side in image):
        raise SettingsError(
            f"got an image of {'×'.join(map(str, image))} px; the backbone '{name}' needs two "
            f"sides that are multiples of {backbone.multiple}"
        )
    return image[0], image[1]


def _head(name: str, backbone: Backbone, image: Size, count: int, settings: Settings) -> Head:
    """A head on a backbone, for so many classes or points."""
    member: Any = HEADS[name]
    given = complete_settings(member, "head", settings)
    made: Head = member.on(backbone, count, image, given)
    return made
