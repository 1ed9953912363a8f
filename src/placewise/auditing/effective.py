"""Effective receptive field: which pixels really change an output unit, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.auditing._draws import generator
from placewise.auditing._numbers import Finding
from placewise.auditing._run import OUTPUT, as_input, gradient, run
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

SHARES = (0.2, 0.3, 0.5, 0.99)
"""Shares of the mass whose smallest squares are measured."""

FAINT = 1 - 0.9545
"""Share of the peak above which a pixel belongs to the field; for a Gaussian, at about 2.5 σ."""


@dataclass(frozen=True, eq=False)
class EffectiveField(Finding):
    """Effective receptive field of one output unit.

    Attributes:
        layer: name of the layer; '' is the network's output.
        unit: place of the unit on the layer's map, per axis; () if the output is a vector.
        images: number of images in the mean.
        channels: number of channels for each image.
        energy: (*space) E(x), the mean absolute gradient, in output per input.
        size: side in pixels of a square with as many pixels as the field.
        sigma: standard deviation of E in pixels, per axis; NaN if E is 0 everywhere.
        centre: centre of mass of E in pixels, per axis, 0-based, an integer is a pixel's centre.
        sides: share of the mass → side in pixels of the smallest square about the centre, rounded
            to half a pixel, that contains this share.
        theoretical: side of the theoretical receptive field, if it was given.
        ratio: size / theoretical, if that was given.

    Example:
        >>> net = nn.Conv1d(1, 1, 3, padding=1)
        >>> effective_field(net, torch.ones(1, 1, 9)).unit
        (4,)
    """

    layer: str
    unit: tuple[int, ...]
    images: int
    channels: int
    energy: FloatArray
    size: float
    sigma: tuple[float, ...]
    centre: tuple[float, ...]
    sides: dict[float, float]
    theoretical: float | None
    ratio: float | None


def effective_field(
    model: nn.Module,
    images: Tensor,
    *,
    layer: str = OUTPUT,
    unit: Sequence[int] | None = None,
    channels: int | Sequence[int] = 4,
    theoretical: float | Sequence[float] | None = None,
    seed: int = 0,
    batch_size: int = 4,
) -> EffectiveField:
    """Measure the effective receptive field of one unit (Luo et al. 2016).

    E(x) = mean over images and channels c of Σ_i |∂y_c / ∂x_i|, with y the unit and i the input's
    channels. A pixel belongs to the field if E(x) > (1 − 0.9545) · max E; for a stack of odd
    kernels the maximum is at the centre. size = (number of these pixels)^(1 / axes), in 1-D their
    number. The masses of squares are sums of E, not of its logarithm.

    A stack of n uniform 3-tap kernels has σ = √(2n / 3); in 2-D n = 10 gives the size 11.70.

    Args:
        model: any network whose output, or whose layer's, is (N, channels, ...). If it is
            (N, classes), the classes' logits are the channels and there is one unit.
        images: (N, C, *space), normalised as the network expects.
        layer: name of a submodule; '' is the network's output.
        unit: place on the layer's map, per axis; the middle one by default, n // 2.
        channels: their indices, or how many to draw at random for each image.
        theoretical: side of the theoretical receptive field in pixels; of sides per axis the
            geometric mean is taken.
        seed: for the choice of channels.
        batch_size: images at a time; affects only memory and time.

    Raises:
        SettingsError: there is no such layer, unit or channel, or the output cannot be
            differentiated.

    Example:
        >>> net = nn.Conv2d(1, 1, 3, bias=False)
        >>> _ = nn.init.ones_(net.weight)
        >>> field = effective_field(net, torch.zeros(1, 1, 3, 3), theoretical=3)
        >>> field.size, field.ratio, field.centre
        (3.0, 1.0, (1.0, 1.0))
    """
    energy: FloatArray = np.zeros(tuple(images.shape[2:]))
    with undisturbed(model):
        images = as_input(model, images)
        for start in range(0, len(images), batch_size):
            leaf = images[start : start + batch_size].clone().requires_grad_()
            output = run(model, leaf, (layer,))[layer]
            place = _place(output, unit)
            drawn = _drawn(output.shape[1], channels, range(start, start + len(leaf)), seed)
            energy = energy + _gradients(output, leaf, place, drawn)
    energy /= len(images) * drawn.shape[1]
    size = float((energy > FAINT * energy.max()).sum() ** (1 / energy.ndim))
    bound = (
        None if theoretical is None else float(np.prod(theoretical) ** (1 / np.size(theoretical)))
    )
    centre, sigma = _moments(energy)
    return EffectiveField(
        layer=layer,
        unit=place,
        images=len(images),
        channels=drawn.shape[1],
        energy=energy,
        size=size,
        sigma=sigma,
        centre=centre,
        sides=_sides(energy, centre),
        theoretical=bound,
        ratio=None if bound is None else size / bound,
    )


def _place(output: Tensor, unit: Sequence[int] | None) -> tuple[int, ...]:
    """The unit that is asked for, or the middle one."""
    if output.ndim < 2 or not output.requires_grad:
        raise SettingsError(
            f"the layer's output has shape {tuple(output.shape)} and "
            f"{'a' if output.requires_grad else 'no'} gradient; choose a layer of shape (N, "
            "channels, ...) that can be differentiated, e.g. one before a detach or an argmax"
        )
    sizes = tuple(output.shape[2:])
    place = tuple(size // 2 for size in sizes) if unit is None else tuple(unit)
    if len(place) != len(sizes) or not all(0 <= u < n for u, n in zip(place, sizes, strict=True)):
        raise SettingsError(
            f"unit {place} is not on the layer's map of size {sizes}; give one index per axis, "
            "counted from 0"
        )
    return place


def _drawn(
    there: int, wanted: int | Sequence[int], numbers: Sequence[int], seed: int
) -> NDArray[np.int64]:
    """(images, channels) indices; a draw depends on the image's number alone."""
    if isinstance(wanted, int) and 1 <= wanted < there:
        rows = [torch.randperm(there, generator=generator(seed, n))[:wanted] for n in numbers]
        return torch.stack(rows).numpy()
    chosen = range(there) if isinstance(wanted, int) and wanted >= 1 else wanted
    if isinstance(chosen, int) or not chosen or not all(0 <= c < there for c in chosen):
        raise SettingsError(
            f"channels={wanted!r} of a layer with {there} channels; give a number of at least 1, "
            f"or indices from 0 to {there - 1}"
        )
    return np.tile(np.array(chosen, np.int64), (len(numbers), 1))


def _gradients(
    output: Tensor, leaf: Tensor, place: tuple[int, ...], drawn: NDArray[np.int64]
) -> FloatArray:
    """Absolute gradients, summed over images, drawn channels and the input's channels."""
    total = torch.zeros(leaf.shape[2:], dtype=torch.float64)
    rows = torch.arange(len(leaf))
    columns = torch.from_numpy(drawn).T
    for number, column in enumerate(columns, 1):
        units = output[(rows, column, *place)].sum()
        found = gradient(units, leaf, again=number < len(columns))
        total += found.abs().double().sum((0, 1)).cpu()
    return total.numpy()


def _moments(energy: FloatArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Centre of mass and standard deviation per axis."""
    centre, sigma = [], []
    for axis, size in enumerate(energy.shape):
        mass = energy.sum(tuple(other for other in range(energy.ndim) if other != axis))
        if not mass.sum() > 0:
            centre.append(float("nan"))
            sigma.append(float("nan"))
            continue
        mean = float(np.average(np.arange(size), weights=mass))
        centre.append(mean)
        sigma.append(float(np.sqrt(np.average((np.arange(size) - mean) ** 2, weights=mass))))
    return tuple(centre), tuple(sigma)


def _sides(energy: FloatArray, centre: Sequence[float]) -> dict[float, float]:
    """Sides of the smallest squares about the centre that contain shares of the mass.

    A pixel at the distance d along the farthest axis is inside from the side 2d + 1 on.
    """
    if not np.isfinite(centre).all():
        return dict.fromkeys(SHARES, float("nan"))
    apart = [
        np.abs(np.arange(size) - np.round(2 * middle) / 2)
        for size, middle in zip(energy.shape, centre, strict=True)
    ]
    farthest = np.max(np.stack(np.meshgrid(*apart, indexing="ij")), axis=0)
    steps, ring = np.unique(farthest, return_inverse=True)
    held = np.cumsum(np.bincount(ring.ravel(), energy.ravel()))
    reached = {share: np.searchsorted(held, share * held[-1] * (1 - 1e-12)) for share in SHARES}
    return {share: float(2 * steps[at] + 1) for share, at in reached.items()}
