"""Decoders: from heatmaps to points, in 1, 2 and 3 dimensions.

Every member looks for the hottest pixel and then, but for `Argmax`, for the place between pixels
that the heat about it points to. A map says nothing about what lies beyond its border, so nothing
is made up there: pixels beyond the border weigh nothing, and what is left is fitted one-sidedly.
That is exact for a sampled Gaussian wherever its centre is on the image, also in a corner.

What all members share:

- A flat map (all values equal) has no hottest pixel; its keypoint is the middle of the map, the one
  place that no flip moves. The score, not the keypoint, says that there is nothing.
- A map that holds NaN or an infinity, or that varies but is nowhere above 0 (so it is logits and
  not heat), has no answer: its keypoint is NaN. Other maps of the batch are not touched by it.
- Heat below 0 counts as none. Of several equally hot pixels the first in reading order counts.
- The fit sees some dozen numbers of each map and is done in float64 on the CPU, whatever the type
  and the device of the maps and whether autocast is on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations_with_replacement
from typing import ClassVar, final

import torch
from torch import Tensor

from placewise.errors import SettingsError, ShapeError
from placewise.family import Family

FAINT = 1e-6
"""Share of the peak's heat below which `Taylor` sees no difference; keeps its logs finite."""

FAR = 1.5
"""Pixels along each axis that `Taylor` goes from the hottest pixel at most."""

NEWTON_STEPS = 12
"""Steps of `Integral`'s moment matching; more change nothing for 0.4 ≤ σ in map pixels."""


@dataclass(frozen=True)
class Hottest:
    """The hottest pixel of each of M maps and the heat about it, all on the CPU.

    Attributes:
        place: (M, axes) pixels (x, y, …).
        peak: (M,) float64 heat there.
        lowest: (M,) float64 the least heat of the map.
        windows: (M, n, …, n) float64 heat about it, n = 2·reach + 1; anything beyond the map.
        inside: (M, axes, n) which places along x, y, … are on the map.
    """

    place: Tensor
    peak: Tensor
    lowest: Tensor
    windows: Tensor
    inside: Tensor


def hottest(maps: Tensor, reach: int) -> Hottest:
    """Find the hottest pixel of each map, the first in reading order of several.

    Args:
        maps: (M, *size), of any floating type.
        reach: pixels of the window on each side.

    Example:
        >>> hottest(torch.tensor([[0.1, 0.9, 0.9]]), 1).place.tolist()
        [[1]]
    """
    peak, place = _hottest(maps)
    windows, inside = _windows(maps, place, reach)
    lowest = maps.flatten(1).amin(1)
    return Hottest(place.cpu(), peak.cpu().double(), lowest.cpu().double(), windows, inside)


class Decoder(ABC):
    """Maps to points.

    Attributes:
        reach: pixels that are looked at on each side of the hottest one.

    Args:
        spatial_dims: axes of a map, 1 to 3.

    Raises:
        SettingsError: another number of axes.
    """

    reach: ClassVar[int]

    def __init__(self, spatial_dims: int = 2) -> None:
        if spatial_dims not in (1, 2, 3):
            raise SettingsError(f"spatial_dims is {spatial_dims}; it must be 1, 2 or 3")
        self.spatial_dims = spatial_dims

    @abstractmethod
    def offsets(self, windows: Tensor, inside: Tensor) -> Tensor:
        """Where the points lie from the hottest pixels.

        Args:
            windows: (M, n, …, n) float64 heat about each hottest pixel, in shares of its own, 0
                beyond the map; n = 2·reach + 1.
            inside: (M, axes, n) which places along x, y, … are on the map.

        Returns:
            (M, axes) offsets (x, y, …) in pixels of the map.
        """

    @final
    def __call__(self, maps: Tensor) -> Tensor:
        """Find the point on each map.

        Args:
            maps: (..., *size), heat ≥ 0 (not logits), any floating type.

        Returns:
            (..., axes) float32 or float64 points (x, y, …) in pixels of the map, within
            −½ … W−½; NaN for a map that cannot be read.

        Raises:
            ShapeError: the tensor is no stack of maps.
        """
        axes = self.spatial_dims
        size = maps.shape[-axes:]
        if maps.ndim < axes or 0 in size or not maps.is_floating_point():
            raise ShapeError(
                f"got a {maps.dtype} tensor of shape {tuple(maps.shape)}; a decoder needs floating "
                f"heatmaps (..., {axes} axes of at least one pixel); pass the head's heat"
            )
        flat = maps.detach().reshape(math.prod(maps.shape[:-axes]), *size)
        points = self.read(hottest(flat, self.reach), size)
        kind = torch.promote_types(maps.dtype, torch.float32)
        return points.to(kind).to(maps.device).view(*maps.shape[:-axes], axes)

    @final
    def read(self, found: Hottest, size: Sequence[int]) -> Tensor:
        """The points of maps of which only the hottest pixels are known.

        Args:
            found: with windows of this decoder's reach.
            size: of the maps.

        Returns:
            (M, axes) float64 points; see `__call__`.
        """
        peak, lowest = found.peak, found.lowest
        scale = peak.view(-1, *[1] * self.spatial_dims)
        windows = (found.windows / scale).nan_to_num(0.0, 0.0, 0.0).clamp(0, 1) * _all(found.inside)
        points = found.place + self.offsets(windows, found.inside)
        last = _last(size).double()
        points = points.clamp(points.new_tensor(-0.5), last + 0.5)
        level = peak == lowest
        readable = (peak.isfinite() & lowest.isfinite() & (peak > 0)) | level
        points = torch.where(level[:, None], last / 2, points)
        return points.masked_fill(~readable[:, None], torch.nan)


class Argmax(Decoder):
    """Centre of the hottest pixel: no finer than a pixel, 0.38 px off on average in 2-D.

    Example:
        >>> Argmax()(torch.tensor([[0.1, 0.2, 0.9]]))
        tensor([2., 0.])
    """

    reach = 0

    def offsets(self, windows: Tensor, inside: Tensor) -> Tensor:
        """None; see `Decoder.offsets`."""
        return windows.new_zeros(inside.shape[:2])


class Taylor(Decoder):
    """Top of the quadratic surface that fits the log of the heat best about the hottest pixel.

    The log of a Gaussian *is* a quadratic, ln h = c + b·p + pᵀA p, and its top −½A⁻¹b is the
    centre (DARK, Zhang et al. 2020, arXiv 1910.06278, takes b and A from central differences, for
    which a border pixel has no neighbour). Here c, b and A are the least-squares fit to the pixels
    within 3 of the hottest one that are on the map, weighted with their heat h. A window as wide
    as the blob matters: the maps of a trained network are lopsided, and what lies about the very
    top says less of where the truth is than the blob as a whole (measured: docs/decoders.md).

    Where the surface has no top, each axis is tried alone, and an axis without a top keeps the
    hottest pixel; so does an axis of 1 or 2 pixels. The answer is within 1.5 px of the hottest
    pixel along each axis.

    Example:
        >>> columns = torch.arange(8.0)
        >>> Taylor()(torch.exp(-((columns - 7.4) ** 2) / 4).expand(3, 8))[0]
        tensor(7.4000)
    """

    reach = 3

    def offsets(self, windows: Tensor, inside: Tensor) -> Tensor:
        """Top of the log map's fit; see `Decoder.offsets`."""
        return _top_of_log(windows, inside)


class Integral(Decoder):
    """Mean place of the heat within 3 px of the hottest pixel, mended for what the window cuts.

    A mean alone is pulled inwards wherever a window or the border cuts the blob: of a keypoint on
    the very edge one sees half a Gaussian, whose mean is 0.8 σ inside. Mean and mean square
    together tell both centre and σ: of all Gaussians h ∝ exp(βx + γx²) cut at the same pixels, the
    one with the same two moments is taken, and its centre is −β / 2γ. It is the most likely
    Gaussian (moment matching in an exponential family, e.g. Wainwright & Jordan 2008, §3) and is
    found by Newton's method, for each axis on the window's sums over the others.

    Where the fit is no peak (σ above 6 px, or an axis of 1 or 2 pixels) the plain mean is given.

    Example:
        >>> columns = torch.arange(8.0)
        >>> Integral()(torch.exp(-((columns - 7.4) ** 2) / 4).expand(3, 8))[0]
        tensor(7.4000)
    """

    reach = 3

    def offsets(self, windows: Tensor, inside: Tensor) -> Tensor:
        """Mended mean place; see `Decoder.offsets`."""
        return _mended_mean(windows, inside)


def _hottest(flat: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) heat and (M, axes) pixel (x, y, …) of the first hottest pixel of maps (M, *size).

    Axis by axis, without numbers of pixels that would have to be divided: a graph for others holds
    this for maps of any size.
    """
    each, along = torch.arange(flat.shape[0], device=flat.device), []
    while flat.ndim > 1:
        peak, at = (flat.flatten(2).amax(2) if flat.ndim > 2 else flat).max(1)
        along.append(at)
        flat = flat[each, at]
    return peak, torch.stack(along[::-1], -1)


def _last(size: Sequence[int], device: torch.device | None = None) -> Tensor:
    """(axes,) last pixel (x, y, …) of a map: a tensor also where sizes are symbols of a graph."""
    return torch.stack([torch.arange(side, device=device)[-1] for side in reversed(size)])


def _windows(flat: Tensor, place: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Cut a cube about each place.

    Args:
        flat: (M, *size) maps.
        place: (M, axes) pixels (x, y, …).
        reach: pixels on each side.

    Returns:
        (M, n, …, n) float64 windows with n = 2·reach + 1, and (M, axes, n) which of their places
        along x, along y, … are on the map; values at places that are not mean nothing.
    """
    steps = torch.arange(-reach, reach + 1, device=flat.device)
    last = _last(flat.shape[1:], flat.device)[:, None]
    at = place[:, :, None] + steps
    nearest = at.clamp_min(0).minimum(last)
    each = torch.arange(flat.shape[0], device=flat.device).view(-1, *[1] * place.shape[1])
    return flat[(each, *_spread(nearest))].cpu().double(), (at == nearest).cpu()


def _spread(along: Tensor) -> list[Tensor]:
    """(M, axes, n) values along x, y, … as (M, …, n, …), one for each axis in the maps' order."""
    count, axes, length = along.shape
    shapes = [[1] * axis + [length] + [1] * (axes - 1 - axis) for axis in range(axes)]
    return [
        values.reshape(count, *shape)
        for values, shape in zip(along.flip(1).unbind(1), shapes, strict=True)
    ]


def _all(inside: Tensor) -> Tensor:
    """(M, n, …, n) whether a place of a window is on the map along all axes."""
    return reduce(torch.mul, _spread(inside))


def _top_of_log(windows: Tensor, inside: Tensor) -> Tensor:
    """Top of the weighted least-squares quadratic of ln h; see `Taylor`."""
    long = (inside.sum(-1) >= 3).double().unbind(-1)
    pairs = list(combinations_with_replacement(range(inside.shape[1]), 2))
    crossed = [long[i] * long[j] for i, j in pairs]
    return _fitted_top(windows, _all(inside), long, crossed)


def tops_of_log(windows: Tensor, seen: Tensor) -> Tensor:
    """Offsets of `Taylor` where a fit sees only some pixels of its window, in any arrangement.

    Args:
        windows: (M, n, …, n) float64 heat about each hottest pixel, whose own heat is 1.
        seen: (M, n, …, n) whether a fit sees a pixel; each sees the one in the middle.

    Returns:
        (M, axes) offsets (x, y, …), at most 1.5 along each axis; 0 along an axis on whose line
        through the middle fewer than 3 pixels are seen.

    Example:
        >>> steps = torch.arange(-3, 4).double()
        >>> heat = torch.exp(-((steps - 0.25) ** 2) / 4)[None]
        >>> tops_of_log(heat / heat[0, 3], steps[None] < 1).round(decimals=6)
        tensor([[0.2500]], dtype=torch.float64)
    """
    axes, middle = windows.ndim - 1, windows.shape[-1] // 2
    lines = [
        seen[(slice(None), *(slice(None) if other == axis else middle for other in range(axes)))]
        for axis in reversed(range(axes))
    ]
    long = [(line.sum(-1) >= 3).double() for line in lines]
    off = [step != 0 for step in _places(_steps(windows), axes)]
    crossed = []
    for i, j in combinations_with_replacement(range(axes), 2):
        others = [~off[k] for k in range(axes) if k not in (i, j)]
        slanted = reduce(torch.mul, [off[i], off[j], *others])
        crossed.append(long[i] * long[j] * (seen.flatten(1) & slanted).any(1))
    return _fitted_top(windows, seen, long, crossed)


def _fitted_top(
    windows: Tensor, seen: Tensor, long: Sequence[Tensor], crossed: Sequence[Tensor]
) -> Tensor:
    """(M, axes) tops of the quadratics fitted to ln h.

    Args:
        windows: (M, n, …, n) heat, 1 at the hottest pixel.
        seen: (M, n, …, n) which pixels count.
        long: for each axis (M,) 1 where it is fitted, else 0.
        crossed: for each pair of axes, also of one with itself, the same.
    """
    axes = len(long)
    places = _places(_steps(windows), axes)
    pairs = list(combinations_with_replacement(range(axes), 2))
    terms = [torch.ones_like(places[0]), *places, *(places[i] * places[j] for i, j in pairs)]
    known = [torch.ones_like(long[0]), *long, *crossed]
    term, there = torch.stack(terms, -1), torch.stack(known, -1)

    heat = windows.clamp_min(FAINT)
    weights = (heat * seen).flatten(1)
    count = len(terms)
    normal = weights @ (term[:, :, None] * term[:, None, :]).flatten(1)
    normal = normal.view(-1, count, count) * there[:, :, None] * there[:, None, :]
    right = (weights * heat.log().flatten(1)) @ term * there
    fit = torch.linalg.solve(normal + torch.diag_embed(1 - there), right)
    return _top(fit[:, 1 : axes + 1], fit[:, axes + 1 :], pairs).clamp(-FAR, FAR)


def _places(steps: Tensor, axes: int) -> list[Tensor]:
    """Offsets of a window's pixels along x, y, …, each flat."""
    grids = torch.meshgrid(*[steps] * axes, indexing="ij")
    return [grid.flatten() for grid in grids[::-1]]


def _top(slopes: Tensor, bends: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    """(M, axes) tops of quadratics b·p + pᵀA p, of each axis alone where there is none.

    Args:
        slopes: (M, axes) b.
        bends: (M, pairs) coefficients of the products of two coordinates.
        pairs: which two coordinates.
    """
    axes = slopes.shape[1]
    hessian = slopes.new_zeros(len(slopes), axes, axes)
    for number, (i, j) in enumerate(pairs):
        hessian[:, i, j] = hessian[:, j, i] = bends[:, number] * (2 if i == j else 1)
    curve = hessian.diagonal(dim1=1, dim2=2)
    single = torch.where(curve < 0, -slopes / curve, 0.0)
    minors = [_determinant(hessian[:, :n, :n]) * (-1) ** n for n in range(1, axes + 1)]
    has_top = torch.stack(minors, -1).gt(0).all(-1)
    joint = []
    for axis in range(axes):  # Cramer's rule for A p = −b/2
        column = hessian.clone()
        column[:, :, axis] = -slopes
        joint.append(_determinant(column))
    tops = torch.stack(joint, -1) / _determinant(hessian)[:, None]
    return torch.where(has_top[:, None], tops, single)


def _determinant(matrix: Tensor) -> Tensor:
    """(M,) determinants of (M, n, n) matrices, by the first row."""
    if matrix.shape[1] == 1:
        return matrix[:, 0, 0]
    total = torch.zeros_like(matrix[:, 0, 0])
    for column in range(matrix.shape[1]):
        others = [other for other in range(matrix.shape[1]) if other != column]
        minor = _determinant(matrix[:, 1:][:, :, others])
        total = total + (-1) ** column * matrix[:, 0, column] * minor
    return total


def _mended_mean(windows: Tensor, inside: Tensor) -> Tensor:
    """Centre of the cut Gaussian with the window's first two moments; see `Integral`."""
    steps = _steps(windows)
    axes = range(windows.ndim - 1, 0, -1)
    over = [tuple(other for other in axes if other != axis) for axis in axes]
    profiles = torch.stack([windows.sum(o) if o else windows for o in over], 1)
    shares = profiles / profiles.sum(-1, keepdim=True).clamp_min(1.0)
    mean, square = (shares * steps).sum(-1), (shares * steps**2).sum(-1)
    variance = square - mean**2 + 0.25
    slope, bend = mean / variance, -0.5 / variance
    for _ in range(NEWTON_STEPS):
        logits = slope[..., None] * steps + bend[..., None] * steps**2
        model = torch.softmax(logits.masked_fill(~inside, -torch.inf), -1)
        m1, m2, m3, m4 = ((model * steps**power).sum(-1) for power in (1, 2, 3, 4))
        v1, v12, v2 = m2 - m1**2, m3 - m1 * m2, m4 - m2**2
        determinant = (v1 * v2 - v12**2).clamp_min(1e-12)
        slope = slope + (v2 * (mean - m1) - v12 * (square - m2)) / determinant
        bend = bend + (v1 * (square - m2) - v12 * (mean - m1)) / determinant
    reach = windows.shape[-1] // 2
    is_peak = (bend < -0.5 / (2 * reach) ** 2) & (inside.sum(-1) >= 3)
    return torch.where(is_peak, -slope / (2 * bend), mean).clamp(-reach, reach)


def _steps(windows: Tensor) -> Tensor:
    """(n,) float64 offsets −reach … reach of a window's pixels from its middle."""
    reach = windows.shape[-1] // 2
    return torch.arange(-reach, reach + 1, dtype=torch.float64)


DECODERS = Family("decoder", Decoder, "placewise.decoders")
