"""Position leak: can a network's features tell where they are?

A convolution answers alike at all places, so that it cannot tell; padding lets it. Two tests:

- `border_swap` needs no training: features under padding against features with real image there;
- `position_probe` asks how well the place can be read off the features at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.auditing._finding import Differences, Finding, border_distances, spearman
from placewise.auditing._layers import Layers, Strides, common_shift, find_layers
from placewise.auditing._probe import batches, generator
from placewise.auditing._windows import as_input, room, window
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

STRENGTHS = (1e-6, 1e-4, 1e-2, 1.0, 100.0)
"""Strengths of the ridge to choose from, on features of variance 1."""


@dataclass(frozen=True, eq=False)
class BorderSwap(Finding):
    """What a layer's map owes to the padding.

    Attributes:
        layer: name; '' is the network's output.
        stride: pixels per cell, per axis.
        margin: pixels of real image that took the place of padding, per axis and side.
        relative: (distances) root mean squared difference over the standard deviation of the
            features, by distance in cells from the border.
        overall: the same over all places.

    Example:
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


@dataclass(frozen=True)
class PositionProbe(Finding):
    """How well the place can be read off a layer's features, on images held out.

    Attributes:
        layer: name; '' is the network's output.
        size: of the map, in cells per axis.
        r2: share of the coordinate's variance that is explained, per axis; below 0: worse than the
            middle of the image.
        spearman: rank correlation of the answer with the coordinate, per axis.
        raw_r2: the same from the image itself, averaged to the map's size: what the content
            gives away (sky above, ground below).
        shuffled_r2: the same from features that have changed places within their image: what
            chance gives away.
        places: in all, that the probe was scored on.

    Example:
        >>> net = nn.Conv1d(1, 4, 1)
        >>> position_probe(net, torch.rand(8, 1, 16))[0].places
        32
    """

    layer: str
    size: tuple[int, ...]
    r2: tuple[float, ...]
    spearman: tuple[float, ...]
    raw_r2: tuple[float, ...]
    shuffled_r2: tuple[float, ...]
    places: int


def border_swap(
    model: nn.Module,
    images: Tensor,
    *,
    size: Sequence[int],
    layers: Layers = None,
    batch: int = 4,
) -> tuple[BorderSwap, ...]:
    """Features of a window under the network's padding against those with image around it.

    The network runs on the window in the middle of each image, and on the image; the map of the
    latter is cut to the window. The difference is what the padding does. Beyond the reach of the
    padding it is 0 but for rounding; where it stays, the network looks at the image as a whole
    (global pooling, attention). The image has a border, too: to be exact the margin must be half
    of the receptive field, and half of the effective one is enough in practice.

    Args:
        model: any network.
        images: (N, C, *space), larger than `size`; twice its size is a good choice.
        size: of the window, in pixels per axis: the size that the network is used at.
        layers: names of submodules, or names with strides per axis; found by default.
        batch: images at a time.

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
        inner = batches(model, images[window(margin, size)], tuple(found), batch)
        outer = batches(model, images, tuple(found), batch)
        for padded, whole in zip(inner, outer, strict=True):
            for name, strides in found.items():
                cells = padded[name].shape[2:]
                starts = [int(m / stride) for m, stride in zip(margin, strides, strict=True)]
                cut = whole[name][window(starts, cells)]
                gathered[name].add(cut, padded[name], border_distances(cells))
    return tuple(
        BorderSwap(name, found[name], margin, each.relative(), each.overall())
        for name, each in gathered.items()
    )


def _margin(images: Tensor, size: Sequence[int], shift: Sequence[int]) -> tuple[int, ...]:
    """Whole strides of room around a window in the middle."""
    free = room(images, size, [2 * step for step in shift])
    return tuple(both // 2 // step * step for both, step in zip(free, shift, strict=True))


def position_probe(
    model: nn.Module,
    images: Tensor,
    *,
    layers: Layers = None,
    places: int = 256,
    seed: int = 0,
    batch: int = 8,
) -> tuple[PositionProbe, ...]:
    """Read the place off the features at it, with a ridge regression (after Islam et al. 2020).

    At places drawn from each image's map, the features z (all channels at that one place, scaled
    to mean 0 and variance 1) answer the place's coordinates t, −1 at one end of the axis and 1 at
    the other: w = argmin Σ ‖t − w·z‖² / n + λ ‖w‖². Half of the images fit w, a quarter chooses
    λ, a quarter scores. The probe looks at one place at a time and pads nothing, so that it adds no
    place of its own. On stationary noise an R² above the two controls comes from the network.

    Args:
        model: any network.
        images: (N, C, *space), N ≥ 4. A layer of C channels and few cells wants many images:
            N · cells well above C.
        layers: names of submodules; found by default.
        places: per image at most.
        seed: of the draws of places and of the parts of images.
        batch: images at a time.

    Raises:
        SettingsError: there are fewer than 4 images, or a layer gives no map.

    Example:
        >>> class Coordinates(nn.Module):
        ...     def forward(self, x):
        ...         return torch.cat([x, torch.linspace(-1, 1, x.shape[-1]).expand_as(x)], 1)
        >>> round(position_probe(Coordinates(), torch.rand(8, 1, 16))[0].r2[0], 3)
        1.0
    """
    with undisturbed(model):
        images = as_input(model, images, least=4)
        names = tuple(find_layers(model, tuple(images.shape[1:]), layers))
        samples: dict[str, list[_Sample]] = {name: [] for name in names}
        for seen in batches(model, images, names, batch):
            first = len(samples[names[0]])
            for name, maps in seen.items():
                parts = images[first : first + len(maps)]
                samples[name] += _samples(maps, parts, places, seed, first)
    return tuple(_probe(name, samples[name], seed) for name in names)


@dataclass(frozen=True)
class _Sample:
    """One image's places: features (places, C), the image's own, coordinates (places, axes)."""

    size: tuple[int, ...]
    features: FloatArray
    raw: FloatArray
    coordinates: FloatArray


def _samples(maps: Tensor, images: Tensor, places: int, seed: int, first: int) -> list[_Sample]:
    """Places of each image, in random order."""
    size = tuple(maps.shape[2:])
    axes = [(2 * np.arange(n) + 1) / n - 1 for n in size]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], 1)
    raw = _resized(images, size).flatten(2).double().cpu()
    found = []
    for number, features in enumerate(maps.flatten(2).double().cpu()):
        order = torch.randperm(len(grid), generator=generator(seed, first + number))[:places]
        chosen = (features[:, order].T.numpy(), raw[number][:, order].T.numpy())
        found.append(_Sample(size, *chosen, grid[order.numpy()]))
    return found


def _resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means over the part of the image that each cell stands for."""
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[len(size) - 1]
    return torch.as_tensor(pool(size)(images))


def _probe(name: str, samples: Sequence[_Sample], seed: int) -> PositionProbe:
    """Fit and score the probe of one layer, and the two controls."""
    order = torch.randperm(len(samples), generator=generator(seed)).tolist()
    half, rest = len(samples) // 2, len(samples) // 4
    parts = [order[:half], order[half:-rest], order[-rest:]]
    truth = [np.concatenate([samples[n].coordinates for n in part]) for part in parts]

    def answers(read: str, turn: int = 0) -> FloatArray:
        features = [
            np.concatenate([np.roll(getattr(samples[n], read), turn, 0) for n in part])
            for part in parts
        ]
        return _ridge(features, truth)

    answer = answers("features")
    return PositionProbe(
        layer=name,
        size=samples[0].size,
        r2=_r2(answer, truth[2]),
        spearman=tuple(map(spearman, answer.T, truth[2].T)),
        raw_r2=_r2(answers("raw"), truth[2]),
        shuffled_r2=_r2(answers("features", turn=1), truth[2]),
        places=len(answer),
    )


def _ridge(features: Sequence[FloatArray], truth: Sequence[FloatArray]) -> FloatArray:
    """Answers on the third part: fitted on the first, the strength chosen on the second."""
    mean, spread = features[0].mean(0), features[0].std(0)
    scale = np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
    fit, choose, score = (np.asarray((part - mean) / scale) for part in features)
    middle = truth[0].mean(0)
    best, answer = np.inf, np.zeros_like(truth[2])
    for strength in STRENGTHS:
        weights = ridge_weights(fit, truth[0] - middle, strength)
        loss = float(np.square(choose @ weights + middle - truth[1]).sum())
        if loss < best:
            best, answer = loss, score @ weights + middle
    return answer


def ridge_weights(
    features: NDArray[np.float64], targets: NDArray[np.float64], strength: float
) -> FloatArray:
    """argmin_w ‖features·w − targets‖² / n + strength · ‖w‖², in closed form.

    Solved in the smaller of the two spaces: (XᵀX + nλI)⁻¹Xᵀt = Xᵀ(XXᵀ + nλI)⁻¹t.

    Args:
        features: (n, C).
        targets: (n, axes).
        strength: λ > 0.

    Returns:
        (C, axes).

    Example:
        >>> ridge_weights(np.array([[1.0], [-1.0]]), np.array([[1.0], [-1.0]]), 1.0).tolist()
        [[0.5]]
    """
    count, channels = features.shape
    if channels <= count:
        gram = features.T @ features + count * strength * np.eye(channels)
        return np.linalg.solve(gram, features.T @ targets)
    gram = features @ features.T + count * strength * np.eye(count)
    return features.T @ np.linalg.solve(gram, targets)


def _r2(answer: FloatArray, truth: FloatArray) -> tuple[float, ...]:
    """1 − Σ(t − answer)² / Σ(t − mean)², per axis."""
    left = np.square(truth - answer).sum(0)
    total = np.square(truth - truth.mean(0)).sum(0)
    return tuple((1 - left / total).tolist())
