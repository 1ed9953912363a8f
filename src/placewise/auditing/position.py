"""Position leak: how well a network's features tell where in the image they are.

A convolution treats all places alike and cannot tell; padding lets it. For the
effect of padding on the features themselves see `placewise.auditing.borders`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.auditing._draws import generator
from placewise.auditing._numbers import Finding, spearman
from placewise.auditing._run import Layers, as_input, batches, find_layers
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

STRENGTHS = (1e-6, 1e-4, 1e-2, 1.0, 100.0)
"""Strengths of the ridge to choose from, for features of variance 1."""


LEAST = 4
"""Images of which a half, a quarter and a quarter can be taken."""


@dataclass(frozen=True)
class PositionProbe(Finding):
    """How well the place can be read off a layer's features, on images that were held out.

    Attributes:
        layer: its name; '' is the network's output.
        size: of the map, in cells per axis.
        r2: share of the coordinate's variance that is explained, per axis; below 0 is worse than
            always answering the middle of the image.
        spearman: rank correlation of the prediction with the coordinate, per axis.
        raw_r2: `r2` from the image itself, averaged to the map's size: what the content tells
            about the place (sky above, ground below).
        shuffled_r2: `r2` from features that are moved to other places within their image: what
            chance tells.
        places: number of places that the probe was scored on.

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


def position_probe(
    model: nn.Module,
    images: Tensor,
    *,
    layers: Layers = None,
    places: int = 256,
    seed: int = 0,
    batch_size: int = 8,
) -> tuple[PositionProbe, ...]:
    """Predict the place from the features at it, with a ridge regression (after Islam et al. 2020).

    At places drawn from each image's map, the features z (all channels at that one place, scaled
    to mean 0 and variance 1) predict the place's coordinates t, −1 at one end of the axis and 1 at
    the other: w = argmin Σ ‖t − w·z‖² / n + λ ‖w‖². Half of the images fit w, a quarter chooses
    λ, a quarter scores. The probe looks at one place at a time and pads nothing, so that it adds no
    information about the place. On stationary noise an R² above both controls comes from the
    network.

    Args:
        model: any network.
        images: (N, C, *space), N ≥ 4. A layer of C channels and few cells needs many images, so
            that N · cells is well above C.
        layers: names of submodules; found by default.
        places: largest number per image.
        seed: for the choice of places and of the parts of images.
        batch_size: images at a time.

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
        images = as_input(model, images, least=LEAST)
        names = tuple(find_layers(model, tuple(images.shape[1:]), layers))
        gathered = PlacesRead(places, seed)
        for seen in batches(model, images, names, batch_size):
            gathered.add(images, {name: seen[name] for name in names})
    return gathered.probes()


class PlacesRead:
    """Features of layers at places, gathered batch by batch; see `position_probe`.

    Args:
        places: largest number per image.
        seed: for the choice of places and of the parts of images.

    Example:
        >>> images, gathered = torch.rand(8, 1, 16), PlacesRead()
        >>> gathered.add(images, {"layer": images.cumsum(2)})
        >>> [probe.layer for probe in gathered.probes()]
        ['layer']
    """

    def __init__(self, places: int = 256, seed: int = 0) -> None:
        self._places, self._seed = places, seed
        self._samples: dict[str, list[_Sample]] = {}

    def add(self, images: Tensor, seen: Mapping[str, Tensor]) -> None:
        """Add maps (N, channels, *size) of the next N of all images, by the names of layers."""
        for name, maps in seen.items():
            samples = self._samples.setdefault(name, [])
            first = len(samples)
            parts = images[first : first + len(maps)]
            samples += _samples(maps, parts, self._places, self._seed, first)

    def probes(self) -> tuple[PositionProbe, ...]:
        """The probe of each layer.

        Raises:
            SettingsError: there are too few images.
        """
        fewest = min(map(len, self._samples.values()), default=0)
        if fewest < LEAST:
            raise SettingsError(f"{fewest} images are too few; give at least {LEAST}")
        return tuple(_probe(name, samples, self._seed) for name, samples in self._samples.items())


@dataclass(frozen=True)
class _Sample:
    """Places of one image: features (places, C), pixels (places, C), coordinates (places, axes)."""

    size: tuple[int, ...]
    features: FloatArray
    raw: FloatArray
    coordinates: FloatArray


def _samples(maps: Tensor, images: Tensor, places: int, seed: int, first: int) -> list[_Sample]:
    """Places of each image, in random order."""
    size = tuple(maps.shape[2:])
    axes = [(2 * np.arange(n) + 1) / n - 1 for n in size]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], 1)
    raw = _resized(images, size).cpu()
    found = []
    for number, features in enumerate(maps.cpu()):
        order = torch.randperm(len(grid), generator=generator(seed, first + number))[:places]
        at: Any = (slice(None), *torch.unravel_index(order, size))
        here, pixels = (one[at].T.double().numpy() for one in (features, raw[number]))
        found.append(_Sample(size, here, pixels, grid[order.numpy()]))
    return found


def _resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means over the part of the image that each cell covers."""
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[len(size) - 1]
    return torch.as_tensor(pool(size)(images))


def _probe(name: str, samples: Sequence[_Sample], seed: int) -> PositionProbe:
    """Fit and score the probe of one layer, and the two controls."""
    order = torch.randperm(len(samples), generator=generator(seed)).tolist()
    half, rest = len(samples) // 2, len(samples) // 4
    parts = [order[:half], order[half:-rest], order[-rest:]]
    truth = [np.concatenate([samples[n].coordinates for n in part]) for part in parts]

    def predicted(read: str, turn: int = 0) -> FloatArray:
        features = [
            np.concatenate([np.roll(getattr(samples[n], read), turn, 0) for n in part])
            for part in parts
        ]
        return _ridge(features, truth)

    found = predicted("features")
    return PositionProbe(
        layer=name,
        size=samples[0].size,
        r2=_r2(found, truth[2]),
        spearman=tuple(map(spearman, found.T, truth[2].T)),
        raw_r2=_r2(predicted("raw"), truth[2]),
        shuffled_r2=_r2(predicted("features", turn=1), truth[2]),
        places=len(found),
    )


def _ridge(features: Sequence[FloatArray], truth: Sequence[FloatArray]) -> FloatArray:
    """Predictions on the third part: fitted on the first, the strength chosen on the second."""
    mean, spread = features[0].mean(0), features[0].std(0)
    scale = np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
    fit, choose, score = (np.asarray((part - mean) / scale) for part in features)
    middle = truth[0].mean(0)
    best, found = np.inf, np.zeros_like(truth[2])
    for weights in ridge_weights(fit, truth[0] - middle, STRENGTHS):
        loss = float(np.square(choose @ weights + middle - truth[1]).sum())
        if loss < best:
            best, found = loss, score @ weights + middle
    return found


def ridge_weights(
    features: NDArray[np.float64], targets: NDArray[np.float64], strengths: Sequence[float]
) -> list[FloatArray]:
    """argmin_w ‖features·w − targets‖² / n + strength · ‖w‖² for each strength, in closed form.

    Solved in the smaller of the two spaces: (XᵀX + nλI)⁻¹Xᵀt = Xᵀ(XXᵀ + nλI)⁻¹t.

    Args:
        features: (n, C).
        targets: (n, axes).
        strengths: λ > 0.

    Returns:
        (C, axes) each.

    Example:
        >>> ridge_weights(np.array([[1.0], [-1.0]]), np.array([[1.0], [-1.0]]), [1.0])[0].tolist()
        [[0.5]]
    """
    count, channels = features.shape
    few = channels <= count
    gram = features.T @ features if few else features @ features.T
    right = features.T @ targets if few else targets
    added = [count * strength * np.eye(len(gram)) for strength in strengths]
    found = [np.linalg.solve(gram + more, right) for more in added]
    return found if few else [features.T @ one for one in found]


def _r2(found: FloatArray, truth: FloatArray) -> tuple[float, ...]:
    """1 − Σ(t − prediction)² / Σ(t − mean)², per axis."""
    left = np.square(truth - found).sum(0)
    total = np.square(truth - truth.mean(0)).sum(0)
    return tuple((1 - left / total).tolist())
