"""Translation equivariance of feature maps and dense outputs, by distance from the border.

If the image moves by a whole number of strides, a map should move by as many cells. It does,
but for the border: there a layer sees padding in one case and image in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.auditing._finding import Differences, Finding, border_distances
from placewise.auditing._layers import Layers, Strides, common_shift, find_layers
from placewise.auditing._probe import batches
from placewise.auditing._windows import as_input, room, window
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed


@dataclass(frozen=True, eq=False)
class Equivariance(Finding):
    """How far a layer's map fails to move with the image.

    Attributes:
        layer: name; '' is the network's output.
        kind: "crop": new image comes in at the border; "roll": the image's other end does.
        stride: pixels per cell, per axis.
        shift: pixels that the image moved along each axis in turn.
        relative: (distances) root mean squared difference over the standard deviation of the
            features, by distance in cells from the border (the nearer one of the two maps').
        psnr: (distances) peak to peak over that difference, in dB; infinite where it is 0.
        overall: `relative` over all places.

    Example:
        >>> import torch
        >>> net = nn.Conv1d(1, 1, 1, bias=False)
        >>> equivariance(net, torch.rand(2, 1, 9), size=(8,))[0].overall
        0.0
    """

    layer: str
    kind: str
    stride: Strides
    shift: tuple[int, ...]
    relative: FloatArray
    psnr: FloatArray
    overall: float


def equivariance(
    model: nn.Module,
    images: Tensor,
    *,
    size: Sequence[int],
    layers: Layers = None,
    batch: int = 4,
) -> tuple[Equivariance, ...]:
    """Compare the maps of a window and of the window moved by whole strides in a larger image.

    No border is made up: what comes in with the move is image. f(x moved by k strides)[u] is held
    against f(x)[u + k] for all cells u that both maps have, along each axis in turn. Peak to peak
    over root mean square in dB is EQ-T (Karras et al. 2021), there for images in [−1, 1].

    Args:
        model: any network.
        images: (N, C, *space), larger than `size` by the network's stride at least.
        size: of the windows, in pixels per axis.
        layers: names of submodules, or names with strides per axis; found by default.
        batch: images at a time.

    Raises:
        SettingsError: the images are too small, or a layer gives no map.

    Example:
        >>> import torch
        >>> net = nn.Conv1d(1, 1, 3, padding=1)
        >>> found = equivariance(net, torch.rand(2, 1, 17), size=(16,))[0]
        >>> bool(found.relative[0] > 0.1), bool(found.relative[1:].max() < 1e-5)
        (True, True)
    """
    with undisturbed(model):
        images = as_input(model, images)
        room(images, size)
        found = find_layers(model, (images.shape[1], *size), layers)
        shift = common_shift(found)
        room(images, size, shift)
        origin = [0] * len(size)
        here = images[window(origin, size)]
        moved = [images[window(offset, size)] for offset in np.diag(shift).tolist()]
        gathered = _gather(model, here, moved, found, shift, batch, roll=False)
    return _findings("crop", found, shift, gathered)


def roll_equivariance(
    model: nn.Module, images: Tensor, *, layers: Layers = None, batch: int = 4
) -> tuple[Equivariance, ...]:
    """Compare f(roll x) with roll f(x): exactly equal if all padding is circular.

    The size must be a whole number of strides, or else maps have no room to roll. Distances are
    from the border or from the seam, whichever is nearer.

    Args:
        model: any network.
        images: (N, C, *space).
        layers: names of submodules, or names with strides per axis; found by default.
        batch: images at a time.

    Raises:
        SettingsError: a layer gives no map.

    Example:
        >>> import torch
        >>> net = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular").double()
        >>> bool(roll_equivariance(net, torch.rand(2, 1, 8))[0].overall < 1e-12)
        True
    """
    with undisturbed(model):
        images = as_input(model, images)
        found = find_layers(model, tuple(images.shape[1:]), layers)
        shift = common_shift(found)
        moved = [images.roll(-step, axis + 2) for axis, step in enumerate(shift)]
        gathered = _gather(model, images, moved, found, shift, batch, roll=True)
    return _findings("roll", found, shift, gathered)


def _gather(
    model: nn.Module,
    here: Tensor,
    moved: Sequence[Tensor],
    layers: dict[str, Strides],
    shift: Sequence[int],
    batch: int,
    *,
    roll: bool,
) -> dict[str, Differences]:
    """Differences between the maps of images and those of the images moved along each axis."""
    gathered = {name: Differences() for name in layers}
    runs = zip(
        *(batches(model, each, tuple(layers), batch) for each in (here, *moved)), strict=True
    )
    for still, *others in runs:
        for axis, other in enumerate(others):
            for name, strides in layers.items():
                cells = int(shift[axis] / strides[axis])
                gathered[name].add(*_aligned(still[name], other[name], cells, axis, roll))
    return gathered


def _aligned(
    still: Tensor, moved: Tensor, cells: int, axis: int, roll: bool
) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """The cells that two maps share, and their distance from the nearer border."""
    distance = border_distances(still.shape[2:])
    if roll:
        near = np.minimum(np.roll(distance, -cells, axis), distance)
        return still.roll(-cells, axis + 2), moved, near
    length = still.shape[axis + 2] - cells
    if length < 1:
        raise SettingsError(
            f"a map of {tuple(still.shape[2:])} cells that moves by {cells} has none in common "
            "with itself; give a larger size"
        )
    near = np.minimum(
        distance.take(range(cells, cells + length), axis), distance.take(range(length), axis)
    )
    return still.narrow(axis + 2, cells, length), moved.narrow(axis + 2, 0, length), near


def _findings(
    kind: str, layers: dict[str, Strides], shift: tuple[int, ...], all_found: dict[str, Differences]
) -> tuple[Equivariance, ...]:
    return tuple(
        Equivariance(
            layer=name,
            kind=kind,
            stride=layers[name],
            shift=shift,
            relative=found.relative(),
            psnr=found.psnr(),
            overall=found.overall(),
        )
        for name, found in all_found.items()
    )
