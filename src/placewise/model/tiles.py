"""Large images in tiles, without seams: the features are those of the whole image.

A convolutional network says at a place what its receptive field about the place shows. So an image
is cut into tiles with a halo of half a receptive field, and of each tile only the core is kept. The
cores are joined to one map, which the head and the decoder read as a whole: no object is cut, and
nothing has to be merged.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from torch import Tensor

LARGE = 1 << 24
"""Pixels of an image from which on it is tiled: more would take gigabytes."""

CORE = 2048
"""Pixels along each axis of a tile's core, about."""


def tiled(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    field: int,
    multiple: int,
    stride: int,
    core: int = CORE,
) -> Tensor:
    """What a convolutional network gives for whole images, computed tile by tile.

    Equal to `network(images)` but for rounding, if no pixel of the output sees more than its
    receptive field: not where a layer looks at the whole image, e.g. a norm over its pixels.

    Args:
        network: images (batch, channels, *size) to maps (batch, features, *size / stride).
        images: (batch, channels, *size), sides multiples of `multiple`.
        field: side of the receptive field in pixels.
        multiple: the network takes sides that are multiples of it, and samples in its steps.
        stride: pixels of the image for one pixel of the maps.
        core: pixels along each axis of what is kept of a tile, about.

    Example:
        >>> import torch
        >>> blur = torch.nn.AvgPool1d(3, stride=1, padding=1)
        >>> image = torch.arange(12.0).view(1, 1, 12)
        >>> bool((tiled(blur, image, field=3, multiple=1, stride=1, core=5) == blur(image)).all())
        True
    """
    halo = -(-(field // 2) // multiple) * multiple
    step = max(1, core // multiple) * multiple
    size = tuple(images.shape[2:])
    whole: Tensor | None = None
    for start in product(*(range(0, side, step) for side in size)):
        stop = [min(at + step, side) for at, side in zip(start, size, strict=True)]
        first = [max(0, at - halo) for at in start]
        last = [min(at + halo, side) for at, side in zip(stop, size, strict=True)]
        window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        maps = network(images[(slice(None), slice(None), *window)])
        kept, place = [], []
        for begin, end, origin in zip(start, stop, first, strict=True):
            kept.append(slice((begin - origin) // stride, (end - origin) // stride))
            place.append(slice(begin // stride, end // stride))
        if whole is None:
            sides = tuple(side // stride for side in size)
            whole = maps.new_empty((*maps.shape[:2], *sides))
        whole[(slice(None), slice(None), *place)] = maps[(slice(None), slice(None), *kept)]
    return network(images) if whole is None else whole
