"""From heatmaps to any number of points on each, in 1, 2 and 3 dimensions.

A decoder finds the one point of a map; here every hill of a map may be a point. A hill is a pixel,
or several adjacent ones of equal heat, with no hotter neighbour; the border of a map is no
neighbour, so hills at the border count like others. Of two hills that are within a radius of each
other the hotter one is kept. Where a point lies between pixels is read off the log of the heat, as
the decoder `taylor` does, but each fit sees only pixels that are nearer to its own hill than to
any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from placewise.decoders import tops_of_log
from placewise.errors import ShapeError
from placewise.gathering import Gathering, Tile
from placewise.geometry import FloatArray, Size

MOST = 1000
"""Points that are taken from every `AREA` pixels of a map at most, where nobody says otherwise."""

AREA = 1 << 16
"""Pixels of a map for which a limit of its points is told; a smaller map has the whole limit."""

REACH = 3
"""Pixels along each axis that a fit sees on each side of its hill."""

Pixels = NDArray[np.intp]


FLAT = 16
"""Pixels of the margin of a tile in which a flat top has to end, and fits have to see."""


@dataclass(frozen=True)
class Peaks:
    """The points of one map, the hottest first.

    Attributes:
        points: (n, axes) of (x, y, …) in pixels of the map, within −½ … W−½.
        heat: (n,) heat at the hills.
    """

    points: FloatArray
    heat: FloatArray


@dataclass(frozen=True)
class _Hills:
    """Hills of one map: their pixels, their heat, and the heat about them."""

    pixels: Pixels
    heat: FloatArray
    windows: NDArray[np.float32]
    inside: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[_Hills]) -> _Hills:
        """Those of several tiles."""
        return cls(
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.heat for part in parts]),
            np.concatenate([part.windows for part in parts]),
            np.concatenate([part.inside for part in parts]),
        )


def find_peaks(
    heat: Tensor,
    radius: float,
    *,
    least: float = 0.0,
    most: int = MOST,
    shape: Tensor | None = None,
) -> list[Peaks]:
    """Find the points of each map.

    Of equally hot hills the first in reading order is taken first. A map that is equal everywhere
    has no hill, and one that holds NaN or an infinity has no points.

    Args:
        heat: (maps, *size), of any floating type.
        radius: in pixels of the map; no two points have hills within this distance.
        least: hills that are not hotter than this are left out.
        most: points for every `AREA` pixels of a map at most, the hottest ones.
        shape: (maps, *size) heat, 0 or more, that the places between pixels are read off where
            that is not the one in which the hills are; None: `heat`.

    Returns:
        One for each map.

    Raises:
        ShapeError: the tensor is no stack of maps.

    Example:
        >>> columns = torch.arange(16.0)
        >>> two = [torch.exp(-((columns - at) ** 2) / 2) for at in (3.3, 11.0)]
        >>> (found,) = find_peaks(torch.maximum(*two)[None], 2)
        >>> found.points.round(3).tolist()
        [[11.0], [3.3]]
    """
    axes, shape = heat.ndim - 1, heat if shape is None else shape
    if axes not in (1, 2, 3) or 0 in heat.shape[1:] or shape.shape != heat.shape:
        raise ShapeError(
            f"got heat of shape {tuple(heat.shape)} and shapes of {tuple(shape.shape)}; give both "
            "as (maps, 1 to 3 axes of at least one pixel)"
        )
    maps = heat.detach().cpu().double().numpy()
    limit = _limit(most, heat.shape[1:])
    pixels = [_kept(*_hills(one, least), radius, limit) for one in maps]
    owners = np.repeat(np.arange(len(maps)), [len(one) for one in pixels])
    places = np.concatenate([*pixels, np.empty((0, axes), np.intp)])
    windows, inside = _windows(shape.detach().cpu().double().numpy(), owners, places)
    values = maps[(owners, *places.T)]
    found, end = [], 0
    for one in pixels:
        part = slice(end, end := end + len(one))
        found.append(_peaks(one, values[part], windows[part], inside[part], heat.shape[1:]))
    return found


def _limit(most: int, size: Sequence[int]) -> int:
    """Points of a map of this size at most."""
    return round(most * max(1.0, math.prod(size) / AREA))


def _peaks(
    pixels: Pixels,
    heat: FloatArray,
    windows: FloatArray,
    inside: NDArray[np.bool_],
    size: Sequence[int],
) -> Peaks:
    """The points of hills of one map that are far enough apart, the hottest first."""
    own = _basins(pixels)
    points = pixels[:, ::-1] + _offsets(windows, inside, own)
    return Peaks(np.clip(points, -0.5, np.array(size[::-1]) - 0.5), heat)


class HillGathering(Gathering["list[Peaks]"]):
    """What `find_peaks` finds, of maps that come tile by tile.

    A flat top that goes on beyond a tile and its margin is no hill here: nothing that is `FLAT`
    pixels wide is a point.

    Args:
        maps: number of maps.
        whole: size of the maps.
        read: (1, maps, *size) raw output → scores and shapes of the same size.
        reach: pixels about a place that `read` looks at.
        radius: see `find_peaks`.
        least: see `find_peaks`.
        most: see `find_peaks`.
    """

    def __init__(
        self,
        maps: int,
        whole: Size,
        read: Callable[[Tensor], tuple[Tensor, Tensor]],
        reach: int,
        *,
        radius: float,
        least: float = 0.0,
        most: int = MOST,
    ) -> None:
        self.whole, self.read = whole, read
        self.radius, self.least, self.limit = radius, least, _limit(most, whole)
        self.margin = reach + FLAT
        self.finite = np.ones(maps, bool)
        self.found: list[list[_Hills]] = [[] for _ in range(maps)]

    @property
    def pixels(self) -> list[Pixels]:
        """(n, axes) pixels of the whole map that are hills of the last tile, for each map."""
        return [parts[-1].pixels for parts in self.found]

    def add(self, tile: Tile) -> None:
        """See `Gathering.add`."""
        scores, shapes = self.read(tile.inside()[None])
        self.take(tile, scores[0], shapes[0])

    def take(self, tile: Tile, scores: Tensor, shapes: Tensor) -> None:
        """Take one tile that was read already.

        Args:
            tile: where it lies.
            scores: (maps, *size) of the tile as far as it lies on the whole map.
            shapes: (maps, *size) heat that the places between pixels are read off.
        """
        kept = scores.detach().cpu().double().numpy()
        shape = shapes.detach().cpu().double().numpy()
        self.finite &= np.isfinite(kept.reshape(len(kept), -1)).all(1)
        origin = np.array(tile.origin)
        low = np.array([part.start for part in tile.core])
        high = np.array([part.stop for part in tile.core])
        ends = zip(tile.origin, kept.shape[1:], self.whole, strict=True)
        open_ends = [(at > 0, at + side < whole) for at, side, whole in ends]
        for number, one in enumerate(kept):
            pixels, heat = _hills(one, self.least, open_ends)
            mine = ((pixels + origin >= low) & (pixels + origin < high)).all(1)
            pixels, heat = pixels[mine], heat[mine]
            owners = np.full(len(pixels), number)
            windows, inside = _windows(shape, owners, pixels)
            small = windows.astype(np.float32)
            self.found[number].append(_Hills(pixels + origin, heat, small, inside))

    def result(self) -> list[Peaks]:
        """See `Gathering.result`."""
        return [
            self._read(_Hills.joined(parts))
            if finite and parts
            else Peaks(np.empty((0, len(self.whole))), np.empty(0))
            for parts, finite in zip(self.found, self.finite, strict=True)
        ]

    def _read(self, hills: _Hills) -> Peaks:
        """The points of one map, from its hills in reading order."""
        order = np.lexsort(hills.pixels.T[::-1])
        pixels, heat = hills.pixels[order], hills.heat[order]
        chosen = order[_apart(pixels, heat, self.radius, self.limit)]
        return _peaks(
            hills.pixels[chosen],
            hills.heat[chosen],
            hills.windows[chosen].astype(np.float64),
            hills.inside[chosen],
            self.whole,
        )


def _hills(
    heat: FloatArray, least: float, open_ends: Sequence[tuple[bool, bool]] = ()
) -> tuple[Pixels, FloatArray]:
    """(n, axes) pixels with no hotter neighbour, and their heat; one pixel for each plateau.

    Args:
        heat: (*size).
        least: hills that are not hotter are left out.
        open_ends: for each axis whether the map goes on before its first and behind its last
            pixel; what is as hot as a hill there is none.
    """
    from scipy import ndimage

    axes = heat.ndim
    nothing = np.empty((0, axes), np.intp), np.empty(0)
    if not np.isfinite(heat).all() or heat.min() == heat.max():
        return nothing
    hottest = ndimage.maximum_filter(heat, 3, mode="constant", cval=-np.inf)
    high = (heat == hottest) & (heat > least)
    labels, _ = ndimage.label(high, np.ones((3,) * axes, bool))
    lower = np.where(high, -np.inf, heat)
    beside = ndimage.maximum_filter(lower, 3, mode="constant", cval=-np.inf)
    slopes = np.unique(labels[high & (beside == heat)])  # they go on beside a hotter pixel
    for axis, ends in enumerate(open_ends):
        outermost = [
            labels.take(end, axis).ravel() for end, goes in zip((0, -1), ends, strict=True) if goes
        ]
        slopes = np.unique(np.concatenate([slopes, *outermost]))
    pixels = _middles(labels, high & ~np.isin(labels, slopes))
    return pixels, heat[tuple(pixels.T)]


def _middles(labels: NDArray[Any], high: NDArray[np.bool_]) -> Pixels:
    """The pixel of each label that is nearest to the middle of its pixels, in reading order."""
    pixels = np.argwhere(high)
    _, group, sizes = np.unique(labels[high], return_inverse=True, return_counts=True)
    middle = np.stack([np.bincount(group, one) for one in pixels.T.astype(float)], -1)
    away = ((pixels - (middle / sizes[:, None])[group]) ** 2).sum(-1).round(9)
    order = np.lexsort((np.arange(len(pixels)), away, group))
    _, first = np.unique(group[order], return_index=True)
    return pixels[np.sort(order[first])]


def _kept(pixels: Pixels, heat: FloatArray, radius: float, most: int) -> Pixels:
    """The hottest pixels, of which no two are within a radius of each other, the hottest first."""
    return pixels[_apart(pixels, heat, radius, most)]


def _apart(pixels: Pixels, heat: FloatArray, radius: float, most: int) -> Pixels:
    """Which pixels these are."""
    from scipy.spatial import cKDTree

    order = np.argsort(-heat, kind="stable")
    pixels = pixels[order]
    pairs = cKDTree(pixels).query_pairs(radius + 1e-6, output_type="ndarray")
    pairs = pairs[((pixels[pairs[:, 0]] - pixels[pairs[:, 1]]) ** 2).sum(-1) <= radius**2]
    kept = [True] * len(pixels)
    for hotter, other in pairs[np.argsort(pairs[:, 0], kind="stable")].tolist():
        if kept[hotter]:
            kept[other] = False
    found: Pixels = order[np.array(kept, bool)][:most]
    return found


def _windows(
    maps: FloatArray, owners: Pixels, places: Pixels
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(n, 7, …) heat about each place, and which of these pixels are on the map."""
    steps = _steps(maps.ndim - 1)
    at = places[:, None] + steps
    last = np.array(maps.shape[1:]) - 1
    nearest = at.clip(0, last)
    values = maps[(owners[:, None], *np.moveaxis(nearest, -1, 0))]
    sides = (len(places), *[2 * REACH + 1] * (maps.ndim - 1))
    return values.reshape(sides), (at == nearest).all(-1).reshape(sides)


def _steps(axes: int) -> Pixels:
    """(7^axes, axes) steps from a pixel to those about it."""
    along = range(-REACH, REACH + 1)
    return np.array(list(product(along, repeat=axes)), np.intp)


def _basins(pixels: Pixels) -> NDArray[np.bool_]:
    """(n, 7, …) which pixels about each hill are surely nearer to its point than to any other.

    A point is up to half a pixel away from its hill along each axis, so a pixel counts where its
    own hill is nearer than any other by √axes pixels.
    """
    from scipy.spatial import cKDTree

    axes = pixels.shape[1]
    sides = (len(pixels), *[2 * REACH + 1] * axes)
    if len(pixels) < 2:
        return np.ones(sides, bool)
    steps = _steps(axes)
    distance, nearest = cKDTree(pixels).query(pixels[:, None] + steps, k=2)
    mine = nearest[..., 0] == np.arange(len(pixels))[:, None]
    other = np.where(mine, distance[..., 1], distance[..., 0])
    near = np.sqrt((steps**2).sum(-1)) + math.sqrt(axes) <= other + 1e-9
    near[:, len(steps) // 2] = True
    return np.asarray(near.reshape(sides))


def _offsets(windows: FloatArray, inside: NDArray[np.bool_], own: NDArray[np.bool_]) -> FloatArray:
    """(n, axes) offsets (x, y, …) of the points from their hills."""
    axes = windows.ndim - 1
    pixels = (2 * REACH + 1) ** axes
    middle = windows.reshape(-1, pixels)[:, pixels // 2].reshape(-1, *[1] * axes)
    scaled = np.divide(windows, middle, out=np.zeros_like(windows), where=middle > 0)
    fitted = tops_of_log(
        torch.from_numpy(scaled.clip(0, None)), torch.from_numpy(inside & own)
    ).numpy()
    return np.where((middle > 0).reshape(-1, 1), fitted, 0.0)
