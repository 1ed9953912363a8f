"""Sensitivity by position: how much the output changes when one place of the image changes.

Three ways to ask, with one answer: the absolute change |Δ| of the output, averaged over images,
in standard deviations of the output. Of an output of O values |Δ| = √(Σ Δ² / O), the length of its
change; of a single value it is the absolute value.

- `perturbation` adds a little noise to one cell of the image: the question itself.
- `gradient_sensitivity` is its limit for small noise, by differentiation: all pixels at once, for
  the price of some backward passes, but only of networks that can be differentiated.
- `occlusion` paints one cell over: what the network loses with that place.
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

from placewise.auditing._directions import projected_changes
from placewise.auditing._finding import Finding, block_means, spearman
from placewise.auditing._probe import OUTPUT, generator, outputs, run
from placewise.auditing._windows import as_input
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

CELLS = 256
"""Cells of the default grid at most: 16 × 16 of an image, 6 × 6 × 6 of a volume."""

Change = Callable[[Tensor, Any, int], Tensor]
"""(images, index of a cell in them, its number) → the images' new content of the cell."""


@dataclass(frozen=True)
class Places(Finding):
    """What a map holds in its middle, at the middles of its edges and in its corners.

    Attributes:
        centre: mean of the middle cells, one or two per axis.
        edge: mean of cells at one border and in the middle of the other axes (in 3-D: of faces).
        corner: mean of cells at a border of every axis; in 1-D the same as `edge`.
        centre_over_edge: ratio; infinite where the edge is 0.
        centre_over_corner: ratio; infinite where the corners are 0.

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
        return cls(centre, edge, corner, _ratio(centre, edge), _ratio(centre, corner))


@dataclass(frozen=True, eq=False)
class Sensitivity(Finding):
    """Sensitivity by position.

    Attributes:
        kind: "perturbation", "gradient" or "occlusion".
        layer: whose change was measured; '' is the network's output.
        images: how many images were averaged over.
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

    kind: str
    layer: str
    images: int
    amount: float | None
    spread: float
    map: FloatArray
    places: Places


@dataclass(frozen=True)
class Comparison(Finding):
    """A measured map held against a predicted one.

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
    batch: int = 16,
) -> Sensitivity:
    """Change of the output when a cell is perturbed a little.

    S(cell) = mean over images of |f(x + δ) − f(x)| / (spread · amount), where δ is ± amount ·
    (standard deviation of the images) at each value of the cell, with signs drawn anew for each
    cell and image, and 0 elsewhere. Signs, because a layer that finds edges does not answer to a
    cell that is brightened as a whole.

    Costs cells × images runs of the network.

    Args:
        model: any network.
        images: (N, C, *space), N ≥ 2, prepared as the network wants them.
        grid: cells per axis; 16, or what makes 256 cells, or the pixels, whichever is fewest.
        amount: size of the perturbation, in standard deviations of the images.
        layer: name of a submodule to look at instead of the output.
        seed: of the signs.
        batch: images at a time.

    Raises:
        SettingsError: settings that cannot be, or the output is the same for all images.

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

    values, spread = _by_cell(model, images, layer, grid, batch, add_noise)
    return _finding("perturbation", layer, len(images), amount, spread, values / amount)


def occlusion(
    model: nn.Module,
    images: Tensor,
    *,
    grid: int | None = None,
    layer: str = OUTPUT,
    batch: int = 16,
) -> Sensitivity:
    """Change of the output when a cell is painted over with its image's mean, channel by channel.

    S(cell) = mean over images of |f(x without the cell) − f(x)| / spread (Zeiler & Fergus 2014
    occlude; the unit is ours). Costs cells × images runs of the network.

    Args:
        model: any network.
        images: (N, C, *space), N ≥ 2, prepared as the network wants them.
        grid: cells per axis; 16, or what makes 256 cells, or the pixels, whichever is fewest.
        layer: name of a submodule to look at instead of the output.
        batch: images at a time.

    Raises:
        SettingsError: settings that cannot be, or the output is the same for all images.

    Example:
        >>> found = occlusion(nn.Flatten(), torch.eye(2)[:, None], grid=2)
        >>> found.places.centre_over_edge
        1.0
    """

    def paint(parts: Tensor, cell: Any, _number: int) -> Tensor:
        mean = parts.flatten(2).mean(2).reshape(*parts.shape[:2], *[1] * (parts.ndim - 2))
        return mean.expand_as(parts)[cell]

    values, spread = _by_cell(model, images, layer, grid, batch, paint)
    return _finding("occlusion", layer, len(images), None, spread, values)


def gradient_sensitivity(
    model: nn.Module,
    images: Tensor,
    *,
    projections: int = 4,
    grid: int | None = None,
    layer: str = OUTPUT,
    seed: int = 0,
    batch: int = 4,
) -> Sensitivity:
    """The limit of `perturbation` for small noise, at the price of a few backward passes.

    There f(x + δ) − f(x) is J·δ, and for unit vectors v from all directions of O outputs alike the
    mean of |v·J·δ| is c · ‖J·δ‖ = c √O |J·δ| with c = Γ(O/2) / (√π Γ((O+1)/2)). So S(cell) = mean
    over images, v and signs ± of |Σ_cell ± ∂(v·f)/∂x| / (c √O) · (standard deviation of the
    images) / spread. With P images and V vectors a pixel's figure has a relative standard
    error of about 0.76 / √(P V); of a single output only the signs are left to chance, and of a
    single channel nothing.

    Args:
        model: any network that can be differentiated.
        images: (N, C, *space), N ≥ 2, prepared as the network wants them.
        projections: vectors v for each image; 1 is enough for a single output.
        grid: cells per axis; None: pixels.
        layer: name of a submodule to look at instead of the output.
        seed: of the projections.
        batch: images at a time.

    Raises:
        SettingsError: settings that cannot be, or the output is the same for all images or
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
    starts = [_starts(size, grid or size) for size in images.shape[2:]]
    total: FloatArray = np.zeros([len(start) for start in starts])
    with undisturbed(model):
        images = as_input(model, images, least=2)
        spread = _spread(outputs(model, images, layer, batch))
        for start in range(0, len(images), batch):
            numbers = range(start, min(start + batch, len(images)))
            leaf = images[numbers.start : numbers.stop].clone().requires_grad_()
            output = run(model, leaf, (layer,))[layer]
            total += projected_changes(output, leaf, numbers, starts, projections, seed)
    values = total / len(images) * unit / spread
    return _finding("gradient", layer, len(images), None, spread, values)


def compare(found: Sensitivity, prediction: FloatArray, *, log: bool = False) -> Comparison:
    """Hold a measured map against a structural prediction, such as the path counts.

    Both are averaged to the smaller number of cells along each axis.

    Args:
        found: the measured map.
        prediction: array of as many axes.
        log: whether it holds natural logarithms; they are then taken back, relative to the
            greatest, before anything is averaged.

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
        block_means(values, [_starts(*sizes) for sizes in zip(values.shape, shape, strict=True)])
        for values in (found.map, prediction)
    )
    return Comparison(spearman(measured, predicted), Places.of(measured), Places.of(predicted))


def _finding(
    kind: str, layer: str, images: int, amount: float | None, spread: float, values: FloatArray
) -> Sensitivity:
    return Sensitivity(kind, layer, images, amount, spread, values, Places.of(values))


def _ratio(above: float, below: float) -> float:
    return above / below if below else (math.nan if not above else math.inf)


def _starts(size: int, cells: int) -> NDArray[np.int64]:
    """Where the cells of an axis begin; their lengths differ by one pixel at most."""
    if cells < 1:
        raise SettingsError(f"grid={cells}: give at least 1 cell per axis")
    count = min(cells, size)
    return size * np.arange(count) // count


def _cells(space: Sequence[int], starts: Sequence[NDArray[np.int64]]) -> list[tuple[Any, ...]]:
    """Indices of the cells in images (N, C, *space), in reading order."""
    ends = [[*first[1:], size] for first, size in zip(starts, space, strict=True)]
    axes = [list(map(slice, *axis)) for axis in zip(starts, ends, strict=True)]
    return [(..., *cell) for cell in itertools.product(*axes)]


def _image_spread(images: Tensor) -> float:
    """Standard deviation about each channel's mean, over all images and places."""
    axes = (0, *range(2, images.ndim))
    return float(images.double().var(axes, correction=0).mean().sqrt())


def _spread(values: Tensor) -> float:
    """Standard deviation over images; what is below rounding counts as none."""
    spread = float(values.var(0, correction=0).mean().sqrt())
    if not spread > torch.finfo(torch.float32).eps * float(values.square().mean().sqrt()):
        raise SettingsError(
            f"the output's spread over {len(values)} images is {spread:g}, so there is nothing "
            "to measure changes with; give images that differ, and a network whose output does"
        )
    return spread


def _by_cell(
    model: nn.Module,
    images: Tensor,
    layer: str,
    grid: int | None,
    batch: int,
    change: Change,
) -> tuple[FloatArray, float]:
    """Run the network once per cell and image: changes in units of the spread, and the spread."""
    space = tuple(images.shape[2:])
    grid = min(16, math.floor(CELLS ** (1 / len(space)) + 1e-9)) if grid is None else grid
    starts = [_starts(size, grid) for size in space]
    cells = _cells(space, starts)
    changes: list[float] = []
    with undisturbed(model):
        images = as_input(model, images, least=2)
        truth = outputs(model, images, layer, batch)
        spread = _spread(truth)
        at_once = max(1, batch // len(images))
        for first in range(0, len(cells), at_once):
            numbers = range(first, min(first + at_once, len(cells)))
            changed = images.expand(len(numbers), *images.shape).clone()
            for part, number in zip(changed, numbers, strict=True):
                part[cells[number]] = change(images, cells[number], number)
            answers = outputs(model, changed.flatten(0, 1), layer, batch)
            differences = answers.reshape(len(numbers), *truth.shape) - truth
            lengths = differences.reshape(len(numbers), len(truth), -1).square().mean(2).sqrt()
            changes += lengths.mean(1).tolist()
    return np.reshape(changes, [len(start) for start in starts]) / spread, spread
