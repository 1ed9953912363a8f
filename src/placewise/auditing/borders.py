"""What the border does to feature maps, by distance from it.

- `equivariance`: if the image moves by whole strides, a map should move by as many cells. It does,
  except near the border, where a layer sees padding in one case and image in the other.
- `border_swap`: features under padding against features with real image in the place of padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.auditing._numbers import Finding
from placewise.auditing._run import (
    OUTPUT,
    Layers,
    Strides,
    as_input,
    batches,
    common_shift,
    crop,
    find_layers,
    room,
)
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

Keep = Callable[[tuple[int, ...], Tensor], None]
"""(offset of the crop, output for a batch of its images)."""


@dataclass(frozen=True, eq=False)
class Equivariance(Finding):
    """How far a layer's map fails to move with the image.

    Attributes:
        layer: its name; '' is the network's output.
        stride: pixels per cell, per axis.
        shift: pixels that the image moved along each axis in turn.
        relative: (distances) root mean squared difference over the standard deviation of the
            features, by distance in cells from the border (the nearer one of the two maps').
        psnr: (distances) peak to peak over that difference, in dB; infinite if it is 0.
        overall: `relative` over all places.

    Example:
        >>> net = nn.Conv1d(1, 1, 1, bias=False)
        >>> equivariance(net, torch.rand(2, 1, 9), size=(8,))[0].overall
        0.0
    """

    layer: str
    stride: Strides
    shift: tuple[int, ...]
    relative: FloatArray
    psnr: FloatArray
    overall: float


@dataclass(frozen=True, eq=False)
class BorderSwap(Finding):
    """How much of a layer's map is due to the padding.

    Attributes:
        layer: its name; '' is the network's output.
        stride: pixels per cell, per axis.
        margin: pixels of real image that replace the padding, per axis and side.
        relative: (distances) root mean squared difference over the standard deviation of the
            features, by distance in cells from the border.
        overall: the same over all places.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Conv1d(1, 1, 3, padding=1)
        >>> found = border_swap(net, torch.rand(2, 1, 16), size=(8,))[0]
        >>> bool(found.relative[0] > 0.1), bool(found.relative[1:].max() < 1e-5)
        (True, True)
    """

    layer: str
    stride: Strides
    margin: tuple[int, ...]
    relative: FloatArray
    overall: float


def equivariance(
    model: nn.Module,
    images: Tensor,
    *,
    size: Sequence[int],
    layers: Layers = None,
    batch_size: int = 4,
    keep: Keep | None = None,
) -> tuple[Equivariance, ...]:
    """Compare the maps of a crop with those of the crop moved by whole strides in a larger image.

    The content that comes in is real image. f(x moved by k strides)[u] is compared with f(x)[u + k]
    for all cells u that both maps have, along each axis in turn. Peak to peak over root mean square
    in dB is EQ-T (Karras et al. 2021), there for images in [−1, 1].

    Args:
        model: any network.
        images: (N, C, *space), larger than `size` by at least the network's stride.
        size: of the crops, in pixels per axis.
        layers: names of submodules, or names with strides per axis; found by default.
        batch_size: images at a time.
        keep: called with the network's output for each batch of each crop, for other uses.

    Raises:
        SettingsError: the images are too small, or a layer gives no map.

    Example:
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
        offsets = [(0,) * len(size), *map(tuple, np.diag(shift).tolist())]
        names = tuple(dict.fromkeys([*found, *([OUTPUT] if keep else [])]))
        gathered = {name: Differences() for name in found}
        crops = [images[crop(offset, size)] for offset in offsets]
        for seen in zip(*(batches(model, each, names, batch_size) for each in crops), strict=True):
            still, *others = seen
            for offset, maps in zip(offsets, seen, strict=True):
                if keep:
                    keep(offset, maps[OUTPUT])
            for axis, other in enumerate(others):
                for name, strides in found.items():
                    cells = int(shift[axis] / strides[axis])
                    gathered[name].add(*_matched(still[name], other[name], cells, axis))
    return tuple(
        Equivariance(name, found[name], shift, one.relative(), one.psnr(), one.overall())
        for name, one in gathered.items()
    )


def border_swap(
    model: nn.Module,
    images: Tensor,
    *,
    size: Sequence[int],
    layers: Layers = None,
    batch_size: int = 4,
) -> tuple[BorderSwap, ...]:
    """Compare features of a crop under the network's padding with those with image around it.

    The network runs on the crop from the middle of each image, and on the image; the map of the
    latter is cut to the crop. The difference is the effect of the padding. Beyond the reach of the
    padding it is 0 except for rounding; where it stays, the network looks at the image as a whole
    (global pooling, attention). The image has a border, too: to be exact the margin must be half
    of the receptive field, and half of the effective one is enough in practice.

    Args:
        model: any network.
        images: (N, C, *space), larger than `size`; twice its size is a good choice.
        size: of the crop, in pixels per axis: the size at which the network is used.
        layers: names of submodules, or names with strides per axis; found by default.
        batch_size: images at a time.

    Raises:
        SettingsError: there is no room for a margin of one stride, or a layer gives no map.

    Example:
        >>> border_swap(nn.Conv1d(1, 2, 1), torch.rand(2, 1, 16), size=(8,))[0].overall
        0.0
    """
    with undisturbed(model):
        images = as_input(model, images)
        room(images, size)
        found = find_layers(model, (images.shape[1], *size), layers)
        margin = _margin(images, size, common_shift(found))
        gathered = {name: Differences() for name in found}
        inner = batches(model, images[crop(margin, size)], tuple(found), batch_size)
        outer = batches(model, images, tuple(found), batch_size)
        for padded, whole in zip(inner, outer, strict=True):
            for name, strides in found.items():
                cells = padded[name].shape[2:]
                starts = [int(m / stride) for m, stride in zip(margin, strides, strict=True)]
                cut = whole[name][crop(starts, cells)]
                if cut.shape != padded[name].shape:
                    raise SettingsError(
                        f"the map of layer '{name}' does not grow with the image, so that it "
                        "cannot be cut; choose layers before it"
                    )
                gathered[name].add(cut, padded[name], border_distances(cells))
    return tuple(
        BorderSwap(name, found[name], margin, each.relative(), each.overall())
        for name, each in gathered.items()
    )


def _margin(images: Tensor, size: Sequence[int], shift: Sequence[int]) -> tuple[int, ...]:
    """Whole strides of room around a crop in the middle."""
    free = room(images, size, [2 * step for step in shift])
    return tuple(both // 2 // step * step for both, step in zip(free, shift, strict=True))


def _matched(
    still: Tensor, moved: Tensor, cells: int, axis: int
) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """The cells that two maps share, and their distance from the nearer border."""
    if still.shape != moved.shape:
        raise SettingsError("the size of a map depends on what the images show")
    distance = border_distances(still.shape[2:])
    length = still.shape[axis + 2] - cells
    if length < 1:
        raise SettingsError(
            f"a map of {tuple(still.shape[2:])} cells that moves by {cells} shares none with "
            "the map before; give a larger size"
        )
    near = np.minimum(
        distance.take(range(cells, cells + length), axis), distance.take(range(length), axis)
    )
    return still.narrow(axis + 2, cells, length), moved.narrow(axis + 2, 0, length), near


# --- differences by distance from the border -----------------------------------------------------


def border_distances(size: Sequence[int]) -> NDArray[np.int64]:
    """Cells from each cell of a map to the nearest border; 0 is the outermost ring.

    Example:
        >>> border_distances((5,))
        array([0, 1, 2, 1, 0])
    """
    axes = [np.minimum(np.arange(n), np.arange(n)[::-1]) for n in size]
    nearest: NDArray[np.int64] = np.min(np.stack(np.meshgrid(*axes, indexing="ij")), axis=0)
    return nearest


class Differences:
    """Squared differences of two stacks of maps, gathered by distance from the border.

    Example:
        >>> found = Differences()
        >>> maps = torch.tensor([[[0.0, 1.0, 0.0]]])
        >>> found.add(maps, maps, border_distances((3,)))
        >>> found.relative().tolist()
        [0.0, 0.0]
    """

    def __init__(self) -> None:
        self._squares = np.zeros(0)
        self._counts = np.zeros(0)
        self._sum = torch.zeros(1, dtype=torch.float64)
        self._sum_of_squares = torch.zeros(1, dtype=torch.float64)
        self._values = 0
        self._low, self._high = math.inf, -math.inf

    def add(self, truth: Tensor, other: Tensor, distance: NDArray[np.int64]) -> None:
        """Add maps (N, C, *size); `distance` is (*size)."""
        truth, other = truth.double().cpu(), other.double().cpu()
        squares = (truth - other).square().mean(1).sum(0).numpy()
        length = max(len(self._squares), int(distance.max()) + 1)
        self._squares = np.pad(self._squares, (0, length - len(self._squares)))
        self._counts = np.pad(self._counts, (0, length - len(self._counts)))
        self._squares += np.bincount(distance.ravel(), squares.ravel(), length)
        self._counts += np.bincount(distance.ravel(), minlength=length) * len(truth)
        axes = (0, *range(2, truth.ndim))
        self._sum = self._sum + truth.sum(axes)
        self._sum_of_squares = self._sum_of_squares + truth.square().sum(axes)
        self._values += len(truth) * distance.size
        self._low = min(self._low, float(truth.min()))
        self._high = max(self._high, float(truth.max()))

    def relative(self) -> FloatArray:
        """√(mean squared difference / variance) per distance, 0 if nothing differs.

        The variance is that of the truth about each channel's mean, averaged over channels: √2
        means as different as two unrelated images.
        """
        return self._over_spread(self._squares / self._counts)

    def overall(self) -> float:
        """The same over all places."""
        return float(self._over_spread(self._squares.sum(keepdims=True) / self._counts.sum())[0])

    def psnr(self) -> FloatArray:
        """20 log10(highest − lowest value of the truth) − 10 log10(mean squared difference), in dB.

        Infinite if nothing differs.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            peak = 20 * np.log10(self._high - self._low)
            return np.asarray(peak - 10 * np.log10(self._squares / self._counts))

    def _over_spread(self, mean_squares: FloatArray) -> FloatArray:
        mean = self._sum / self._values
        variance = float((self._sum_of_squares / self._values - mean.square()).mean())
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.sqrt(mean_squares / max(variance, 0.0))
        return np.where(mean_squares == 0, 0.0, ratio)
