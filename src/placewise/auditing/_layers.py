"""Which layers of a network give maps, and with which strides."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from placewise.auditing._probe import forward, tapped
from placewise.auditing._windows import as_input
from placewise.errors import SettingsError

Strides = tuple[Fraction, ...]
"""Pixels of the image per cell of a map, for each axis; below 1 where a map is the finer one."""

Layers = Sequence[str] | Mapping[str, Sequence[int | Fraction]] | None
"""Names of submodules, or names with the stride of each per axis, or None: find them."""


def find_layers(
    model: nn.Module, shape: Sequence[int], layers: Layers = None
) -> dict[str, Strides]:
    """Layers that give a map, with their strides, measured from the sizes of maps.

    The network runs on an empty image of this size and on one that is n ≥ max(size, 64) pixels
    larger per axis (32 of a volume); a map that grows by m cells has the stride n / m, to the
    nearest whole number or to one over a whole number. What does not grow is no map: a vector, a
    grid of fixed size, channels that stand last. Where the network refuses the larger image, the
    stride is size / cells, and a map is what has the same stride along all axes.

    Args:
        model: a network that `undisturbed` lends.
        shape: (C, *space) of one image.
        layers: names to measure; a mapping gives the strides and nothing is measured; None
            chooses the last layer before each change of the map's size, in the order in which
            layers finish, and of each size the first and the last of these.

    Returns:
        Name → stride per axis.

    Raises:
        SettingsError: no layer, or not a layer that is named, gives a map.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.MaxPool1d(2), nn.Conv1d(1, 1, 1))
        >>> {name: int(stride) for name, (stride,) in find_layers(net, (1, 32)).items()}
        {'0': 1, '': 2}
    """
    if isinstance(layers, Mapping):
        return {name: tuple(map(Fraction, strides)) for name, strides in layers.items()}
    names = tuple(dict(model.named_modules(remove_duplicate=False))) if layers is None else layers
    sizes = _map_sizes(model, tuple(shape), names)
    strides = _measured_strides(model, tuple(shape), sizes)
    missing = [name for name in layers or () if name not in strides]
    if missing or not strides:
        raise SettingsError(
            f"{f'layer {missing[0]!r}' if missing else 'no layer'} gives a map that grows with "
            f"the image; choose layers whose output is (N, C, {len(shape) - 1} axes of space)"
        )
    if layers is not None:
        return {name: strides[name] for name in layers}
    return {name: strides[name] for name in _stages({name: sizes[name] for name in strides})}


def _map_sizes(
    model: nn.Module, shape: tuple[int, ...], names: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Sizes of outputs (1, C, *size), in the order in which layers finish."""
    image = as_input(model, torch.zeros(1, *shape))
    with torch.no_grad(), tapped(model, names, lambda tensor: tuple(tensor.shape)) as seen:
        forward(model, image)
    maps = {name: found for name, found in seen.items() if len(found) == len(shape) + 1}
    return {name: found[2:] for name, found in maps.items() if found[0] == 1}


def _measured_strides(
    model: nn.Module, shape: tuple[int, ...], sizes: dict[str, tuple[int, ...]]
) -> dict[str, Strides]:
    """Strides of those layers whose output is a map."""
    least = 64 if len(shape) < 4 else 32
    pixels = [math.ceil(max(size, least) / 32) * 32 for size in shape[1:]]
    larger = (shape[0], *map(sum, zip(shape[1:], pixels, strict=True)))
    measured = True
    try:
        far = _map_sizes(model, larger, tuple(sizes))
        cells = {name: np.subtract(far[name], sizes[name]) for name in sizes if name in far}
    except SettingsError:
        measured, pixels = False, list(shape[1:])
        cells = {name: np.array(size) for name, size in sizes.items()}
    strides = {
        name: tuple(map(_stride, pixels, map(int, grown)))
        for name, grown in cells.items()
        if (grown > 0).all() and max(sizes[name]) > 1
    }
    return {name: each for name, each in strides.items() if measured or len(set(each)) == 1}


def _stride(pixels: int, cells: int) -> Fraction:
    if pixels >= cells:
        return Fraction(round(pixels / cells))
    return Fraction(1, round(cells / pixels))


def _stages(sizes: dict[str, tuple[int, ...]]) -> list[str]:
    """The last name of each run of equal sizes; of each size the first and the last of these."""
    runs = [list(run)[-1] for _, run in itertools.groupby(sizes, key=lambda name: sizes[name])]
    ends: dict[tuple[int, ...], list[str]] = {}
    for name in runs:
        ends.setdefault(sizes[name], []).append(name)
    return [name for name in runs if name in (ends[sizes[name]][0], ends[sizes[name]][-1])]


def common_shift(layers: Mapping[str, Strides]) -> tuple[int, ...]:
    """Pixels per axis of the smallest shift that is a whole number of cells in each layer.

    Example:
        >>> common_shift({"a": (Fraction(4),), "b": (Fraction(6),), "up": (Fraction(1, 2),)})
        (12,)
    """
    axes = zip(*layers.values(), strict=True)
    return tuple(math.lcm(*(stride.numerator for stride in axis)) for axis in axes)
