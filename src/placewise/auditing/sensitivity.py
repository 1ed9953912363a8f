"""Sensitivity by position: how much the output changes when one place of the image changes.

There are three measurements of one quantity: the absolute change |Δ| of the output, averaged over
images, in standard deviations of the output. For an output of O values |Δ| = √(Σ Δ² / O), the
length of its change; for a single value it is the absolute value.

- `perturbation` adds a little noise to one cell of the image. This is the definition.
- `gradient_sensitivity` is its limit for small noise, by differentiation: all pixels at once, for
  the price of a few backward passes, but only for networks that can be differentiated.
- `occlusion` paints over one cell: how much the network depends on that place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.auditing._draws import generator
from placewise.auditing._numbers import Finding, block_means, block_sums, cells, ratio, spearman
from placewise.auditing._run import OUTPUT, as_input, gradient, outputs, run
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

DRAWS = 4
"""Draws of signs for each gradient; they need no run of the network. Where the cells are pixels and
there are no more ways than these to choose the signs of the channels, all ways are taken."""

CELLS = 256
"""Most cells of the default grid: 16 × 16 of an image, 6 × 6 × 6 of a volume."""

Change = Callable[[Tensor, Any, int], Tensor]
"""(images, index of a cell in them, its number) → the images' new content of the cell."""


@dataclass(frozen=True)
class Places(Finding):
    """Values of a map in its middle, at the middles of its edges and in its corners.

    Attributes:
        centre: mean of the middle cells, one or two per axis.
        edge: mean of cells at one border and in the middle of the other axes (in 3-D, of faces).
        corner: mean of cells at a border of every axis; in 1-D the same as `edge`.
        centre_over_edge: ratio; infinite if the edge is 0.
        centre_over_corner: ratio; infinite if the corners are 0.

    Example:
        >>> Places.of(np.array([1.0, 4.0, 3.0])).centre_over_corner
        2.0
    """

    centre: float
    edge: float
    corner: float
    centre_over_edge: float
    centre_over_corner: float

    @classmethod
    def of(cls, values: FloatArray) -> Places:
        """Read the places of a map."""
        sides = [[0, size - 1] for size in values.shape]
        middles = [[(size - 1) // 2, size // 2] for size in values.shape]
        centre = float(values[np.ix_(*middles)].mean())
        corner = float(values[np.ix_(*sides)].mean())
        edges = [
            values[np.ix_(*middles[:axis], sides[axis], *middles[axis + 1 :])].mean()
            for axis in range(values.ndim)
        ]
        edge = float(np.mean(edges))
        return cls(centre, edge, corner, ratio(centre, edge), ratio(centre, corner))


@dataclass(frozen=True, eq=False)
class Sensitivity(Finding):
    """Sensitivity by position.

    Attributes:
        method: "perturbation", "gradient" or "occlusion".
        layer: whose change is measured; '' is the network's output.
        images: number of images in the mean.
        amount: standard deviation of the noise, in standard deviations of the images; None for
            occlusion and gradients.
        spread: standard deviation of the output over images, √(mean over outputs of variance).
        map: mean absolute change of the output by cell, in units of `spread`, per `amount`.
        places: the map's centre, edges and corners.

    Example:
        >>> net = nn.Flatten()
        >>> occlusion(net, torch.eye(2)[:, None], grid=2).map.round(4).tolist()
        [0.7071, 0.7071]
    """

    method: str
    layer: str
    images: int
    amount: float | None
    spread: float
    map: FloatArray
    places: Places


@dataclass(frozen=True)
class Comparison(Finding):
    """A measured map compared with a predicted one.

    Attributes:
        spearman: rank correlation over the cells of the coarser map; NaN if a map is constant.
        measured: places of the measured map.
        predicted: places of the predicted map, on the same cells.

    Example:
        >>> values = np.array([1.0, 5.0, 2.0])
        >>> found = Sensitivity("gradient", "", 2, None, 1.0, values, Places.of(values))
        >>> compare(found, np.array([3.0, 9.0, 8.0])).spearman
        1.0
    """

    spearman: float
    measured: Places
    predicted: Places


def perturbation(
    model: nn.Module,
    images: Tensor,
    *,
    grid: int | None = None,
    amount: float = 0.1,
    layer: str = OUTPUT,
    seed: int = 0,
    batch_size: int = 16,
) -> Sensitivity:
    """Change of the output when a cell is perturbed a little.

    S(cell) = mean over images of |f(x + δ) − f(x)| / (spread · amount), where δ is ± amount ·
    (standard deviation of the images) at each value of the cell, with signs drawn anew for each
    cell and image, and 0 elsewhere. The signs differ because a layer that finds edges does not
    react to a cell that is brightened as a whole.

    Costs cells × images runs of the network.

    Args:
        model: any network.
        images: (N, C, *space), N ≥ 2, normalised as the network expects.
        grid: cells per axis; by default 16, or what makes 256 cells, or the pixels, whichever
            is fewest.
        amount: size of the perturbation, in standard deviations of the images.
        layer: name of a submodule to measure instead of the output.
        seed: for the signs.
        batch_size: images at a time.

    Raises:
        SettingsError: a setting is out of range, or the output is the same for all images.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False)).double()
        >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -3.0]]))
        >>> found = perturbation(net, torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), grid=2)
        >>> (found.map / found.map[0]).round(6).tolist()
        [1.0, 3.0]
    """
    if not amount > 0:
        raise SettingsError(f"amount={amount}: give a number above 0, in standard deviations")
    step = amount * _image_spread(images)

    def add_noise(parts: Tensor, cell: Any, number: int) -> Tensor:
        content = parts[cell]
        signs = torch.randint(0, 2, content.shape, generator=generator(seed, number))
        return content + step * (2 * signs - 1).to(content)

    values, spread = _by_cell(model, images, layer, grid, batch_size, add_noise)
    return _finding("perturbation", layer, len(images), amount, spread, values / amount)


def occlusion(
    model: nn.Module,
    images: Tensor,
    *,
    grid: int | None = None,
    layer: str = OUTPUT,
    batch_size: int = 16,
) -> Sensitivity:
    """Change of the output when a cell is painted over with its image's mean, channel by channel.

    S(cell) = mean over images of |f(x without the cell) − f(x)| / spread (Zeiler & Fergus 2014
    occlude; the unit is ours). Costs cells × images runs of the network.

    Args:
        model: any network.
        images: (N, C, *space), N ≥ 2, normalised as the network expects.
        grid: cells per axis; by default 16, or what makes 256 cells, or the pixels, whichever
            is fewest.
        layer: name of a submodule to measure instead of the output.
        batch_size: images at a time.

    Raises:
        SettingsError: a setting is out of range, or the output is the same for all images.

    Example:
        >>> found = occlusion(nn.Flatten(), torch.eye(2)[:, None], grid=2)
        >>> found.places.centre_over_edge
        1.0
    """

    def paint(parts: Tensor, cell: Any, _number: int) -> Tensor:
        mean = parts.flatten(2).mean(2).reshape(*parts.shape[:2], *[1] * (parts.ndim - 2))
        return mean.expand_as(parts)[cell]

    values, spread = _by_cell(model, images, layer, grid, batch_size, paint)
    return _finding("occlusion", layer, len(images), None, spread, values)


def gradient_sensitivity(
    model: nn.Module,
    images: Tensor,
    *,
    projections: int = 4,
    grid: int | None = None,
    layer: str = OUTPUT,
    seed: int = 0,
    batch_size: int = 4,
) -> Sensitivity:
    """The limit of `perturbation` for small noise, at the price of a few backward passes.

    In the limit f(x + δ) − f(x) is J·δ, and for unit vectors v, uniform over all directions of O
    outputs, the mean of |v·J·δ| is c · ‖J·δ‖ = c √O |J·δ| with c = Γ(O/2) / (√π Γ((O+1)/2)). So
    S(cell) = mean over images, v and signs ± of |Σ_cell ± ∂(v·f)/∂x| / (c √O) · (standard
    deviation of the images) / spread. With P images and V vectors the relative standard error of a
    pixel is about 0.76 / √(P V). For a single output only the signs are random, and for pixels of
    up to 3 channels they are not: the mean is over all signs.

    Args:
        model: any network that can be differentiated.
        images: (N, C, *space), N ≥ 2, normalised as the network expects.
        projections: vectors v for each image; 1 is enough for a single output.
        grid: cells per axis; None: pixels.
        layer: name of a submodule to measure instead of the output.
        seed: for the projections.
        batch_size: images at a time.

    Raises:
        SettingsError: a setting is out of range, or the output is the same for all images or
            cannot be differentiated.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False)).double()
        >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, -3.0]]))
        >>> found = gradient_sensitivity(net, torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
        >>> (found.map / found.map[0]).round(6).tolist()
        [1.0, 3.0]
    """
    if projections < 1:
        raise SettingsError(f"projections={projections}: give at least 1")
    unit = _image_spread(images)
    starts = _starts(images.shape[2:], grid)
    total: FloatArray = np.zeros([len(start) for start in starts])
    with undisturbed(model):
        images = as_input(model, images, least=2)
        seen = []
        for start in range(0, len(images), batch_size):
            numbers = range(start, min(start + batch_size, len(images)))
            leaf = images[numbers.start : numbers.stop].clone().requires_grad_()
            output = run(model, leaf, (layer,))[layer]
            total += projected_changes(output, leaf, numbers, starts, projections, seed)
            seen.append(output.detach().double().cpu())
    spread = _spread(torch.cat(seen))
    values = total / len(images) * unit / spread
    return _finding("gradient", layer, len(images), None, spread, values)


def compare(found: Sensitivity, prediction: FloatArray, *, log: bool = False) -> Comparison:
    """Compare a measured map with a structural prediction, such as the path counts.

    Both are averaged to the smaller number of cells along each axis.

    Args:
        found: the measured map.
        prediction: array of as many axes.
        log: whether it holds natural logarithms; exp is then applied, relative to the greatest,
            before anything is averaged.

    Raises:
        SettingsError: the prediction has another number of axes.

    Example:
        >>> found = gradient_sensitivity(nn.Flatten(), torch.eye(2)[:, None], grid=2)
        >>> compare(found, np.log([1.0, 1.0, 2.0, 2.0]), log=True).predicted.centre
        0.75
    """
    prediction = np.asarray(prediction, np.float64)
    if prediction.ndim != found.map.ndim:
        raise SettingsError(
            f"the prediction has shape {prediction.shape} and the measured map {found.map.shape}; "
            "give a prediction with the same number of axes"
        )
    if log:
        prediction = np.exp(prediction - prediction.max())
    shape = [min(sizes) for sizes in zip(prediction.shape, found.map.shape, strict=True)]
    measured, predicted = (
        block_means(values, [cells(*sides) for sides in zip(values.shape, shape, strict=True)])
        for values in (found.map, prediction)
    )
    return Comparison(spearman(measured, predicted), Places.of(measured), Places.of(predicted))


def _finding(
    method: str, layer: str, images: int, amount: float | None, spread: float, values: FloatArray
) -> Sensitivity:
    return Sensitivity(method, layer, images, amount, spread, values, Places.of(values))


def _starts(space: Sequence[int], grid: int | None) -> list[NDArray[np.int64]]:
    """Where the cells begin along each axis; None: pixels."""
    if grid is not None and grid < 1:
        raise SettingsError(f"grid={grid}: give at least 1 cell per axis")
    return [cells(size, grid or size) for size in space]


def _indices(space: Sequence[int], starts: Sequence[NDArray[np.int64]]) -> list[tuple[Any, ...]]:
    """Indices of the cells in images (N, C, *space), in reading order."""
    ends = [[*first[1:], size] for first, size in zip(starts, space, strict=True)]
    axes = [list(map(slice, *axis)) for axis in zip(starts, ends, strict=True)]
    return [(..., *cell) for cell in itertools.product(*axes)]


def _image_spread(images: Tensor) -> float:
    """Standard deviation about each channel's mean, over all images and places."""
    axes = (0, *range(2, images.ndim))
    return float(images.double().var(axes, correction=0).mean().sqrt())


def _spread(values: Tensor) -> float:
    """Standard deviation over images; less than rounding errors counts as none."""
    spread = float(values.var(0, correction=0).mean().sqrt())
    if not spread > torch.finfo(torch.float32).eps * float(values.square().mean().sqrt()):
        raise SettingsError(
            f"the output's standard deviation over {len(values)} images is {spread:g}, which is no "
            "unit for changes; give images that differ, and a network whose output does"
        )
    return spread


def _by_cell(
    model: nn.Module,
    images: Tensor,
    layer: str,
    grid: int | None,
    batch_size: int,
    change: Change,
) -> tuple[FloatArray, float]:
    """Run the network once per cell and image: changes in units of the spread, and the spread."""
    space = tuple(images.shape[2:])
    grid = min(16, math.floor(CELLS ** (1 / len(space)) + 1e-9)) if grid is None else grid
    starts = _starts(space, grid)
    indices = _indices(space, starts)
    changes: list[float] = []
    with undisturbed(model):
        images = as_input(model, images, least=2)
        truth = outputs(model, images, layer, batch_size)
        spread = _spread(truth)
        at_once = max(1, batch_size // len(images))
        for first in range(0, len(indices), at_once):
            numbers = range(first, min(first + at_once, len(indices)))
            changed = images.expand(len(numbers), *images.shape).clone()
            for part, number in zip(changed, numbers, strict=True):
                part[indices[number]] = change(images, indices[number], number)
            changed_outputs = outputs(model, changed.flatten(0, 1), layer, batch_size)
            differences = changed_outputs.reshape(len(numbers), *truth.shape) - truth
            lengths = differences.reshape(len(numbers), len(truth), -1).square().mean(2).sqrt()
            changes += lengths.mean(1).tolist()
    return np.reshape(changes, [len(start) for start in starts]) / spread, spread


# --- gradients along random directions -----------------------------------------------------------


def projected_changes(
    output: Tensor,
    leaf: Tensor,
    numbers: Sequence[int],
    starts: Sequence[NDArray[np.int64]],
    projections: int,
    seed: int,
) -> FloatArray:
    """Mean over directions and signs of |J·δ| by cell, summed over images.

    J is the Jacobian of one image's O outputs, δ is ±1 at each value of the cell, and |J·δ| the
    length over √O. See `gradient_sensitivity` for the formula.

    Args:
        output: (N, ...) of a network.
        leaf: (N, C, *space) from which it was computed.
        numbers: of the images; the draws depend on them.
        starts: where the cells begin, for each axis of space.
        projections: directions for each image.
        seed: for the draws.

    Returns:
        (*cells).

    Raises:
        SettingsError: the output cannot be differentiated.

    Example:
        >>> leaf = torch.tensor([[[1.0, 1.0]]], requires_grad=True)
        >>> output = (leaf * torch.tensor([1.0, -3.0])).sum(2)
        >>> projected_changes(output, leaf, [0], [np.array([0, 1])], 1, 0).round(6)
        array([1., 3.])
    """
    if not output.requires_grad:
        raise SettingsError(
            "the output cannot be differentiated by the image; use perturbation() instead, or "
            "choose a layer before the detach or argmax"
        )
    count = output[0].numel()
    total: FloatArray = np.zeros([len(start) for start in starts])
    for turn in range(projections):
        draws = [generator(seed, number, turn) for number in numbers]
        drawn = [torch.randn(count, generator=draw, dtype=torch.float64) for draw in draws]
        weights = torch.stack([one / one.norm() for one in drawn]).reshape(output.shape)
        projected = (output * weights.to(output)).sum()
        gradients = gradient(projected, leaf, again=turn < projections - 1)
        for found, draw in zip(gradients, draws, strict=True):
            total += _signed(found.double().cpu(), starts, draw)
    return total / (projections * mean_cosine(count) * math.sqrt(count))


def mean_cosine(axes: int) -> float:
    """Mean of |v·u| over all directions of unit vectors v: Γ(O/2) / (√π Γ((O+1)/2)).

    Example:
        >>> round(mean_cosine(1), 9), round(mean_cosine(3), 9)
        (1.0, 0.5)
    """
    return math.exp(math.lgamma(axes / 2) - math.lgamma((axes + 1) / 2)) / math.sqrt(math.pi)


def _signed(
    gradient: Tensor, starts: Sequence[NDArray[np.int64]], draws: torch.Generator
) -> FloatArray:
    """(*cells) mean over signs of |Σ ± gradient| over each cell and the channels (C, *space)."""
    total: FloatArray = np.zeros([len(start) for start in starts])
    ways = 1 << (len(gradient) - 1)
    if total.shape == gradient.shape[1:] and ways <= DRAWS:
        for way in itertools.product((1,), *[(1, -1)] * (len(gradient) - 1)):
            total += np.abs(np.tensordot(way, gradient.numpy(), 1))
        return total / ways
    for _ in range(DRAWS):
        signs = 2 * torch.randint(0, 2, gradient.shape, generator=draws) - 1
        total += np.abs(block_sums((gradient * signs).sum(0).numpy(), starts))
    return total / DRAWS
