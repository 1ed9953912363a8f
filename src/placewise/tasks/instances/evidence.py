"""From the maps of an image to its objects.

The rules, in this order:

1. The score of a centre is its heat, less where the pixels that point at it do not agree on the
   place (`spreads`): h · exp(−a s). Between two nuclei that touch there may be as much heat as on
   either, but no pixel points there.
2. A centre counts if its score reaches a threshold. A pixel is foreground if its probability
   exceeds another one. Both are chosen on validation images.
3. Each foreground pixel belongs to the centre that is nearest to where its offset points.
4. An object is one connected piece. Other pieces that point at its centre join the object beside
   them; one that lies alone is an object whose centre was missed, or noise if it is small
   (`made_whole`).
5. A centre with fewer pixels than `SMALLEST` is no object, and they are background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from placewise.geometry import FloatArray, Size, ratio_of, rescale, to_image
from placewise.grouping import nearest, vote
from placewise.heads.instances import FAINT, Read
from placewise.peaks import find_peaks
from placewise.tasks.instances.pieces import made_whole
from placewise.tasks.instances.target import diameters

LINEAR = ("linear", "bilinear", "trilinear")
"""What torch calls resizing by number of axes, less one."""

SMALLEST = 4
"""Pixels of an object at least."""

MOST, ROOM = 1000, 64
"""Centres of an image at most, and pixels of the maps for each where there are many pixels."""

NEAR = 2.5
"""Standard deviations of a centre's Gaussian within which no other centre lies: a quarter of the
objects' usual size. With 1, long objects are cut into slices early in a training."""

SURE, STRIP = 0.5, 1 << 21
"""Probability above which pixels say how far they agree, and pixels that are asked together."""

NOWHERE = 1e6
"""Spread of the votes for a centre that has none."""


class Limits(NamedTuple):
    """What objects are read with; usual values of a model that was not calibrated.

    Attributes:
        foreground: probability above which a pixel is foreground.
        centre: score from which on a centre counts.
        agreement: a in the score h · exp(−a s) of a centre, with its heat h and the spread s of
            the votes for it.
    """

    foreground: float = 0.5
    centre: float = 0.25
    agreement: float = 4.0


@dataclass(frozen=True)
class Found:
    """Objects of an image.

    Attributes:
        labels: (*size,) 0 background, 1 … n objects, in reading order of their centres.
        scores: (n,) score of the centre times the mean probability of the object's pixels.
        kinds: (n,) numbers among the names.
    """

    labels: NDArray[np.int32]
    scores: FloatArray
    kinds: NDArray[np.int32]


@dataclass(frozen=True)
class Evidence:
    """What the maps of an image say, before thresholds.

    Attributes:
        size: of the image.
        shown: of the same at the network's scale.
        stride: pixels at the network's scale for one pixel of the maps.
        foreground: (*map) float16 probabilities.
        offsets: (axes, *map) float16 of (x, y, …) in pixels of the map.
        centres: (m, axes) of (x, y, …) in pixels of the image, in reading order.
        heat: (m,) of the centres.
        spreads: (m,) of the votes for them, see `spreads`.
        kinds: (kinds, *map) float16 probabilities; None where there is one kind.
    """

    size: Size
    shown: Size
    stride: int
    foreground: NDArray[np.float16]
    offsets: NDArray[np.float16]
    centres: FloatArray
    heat: FloatArray
    spreads: FloatArray
    kinds: NDArray[np.float16] | None

    @classmethod
    def of(
        cls, read: Read, sigma: float, stride: int, shown: Size, sizes: Sequence[Size]
    ) -> list[Evidence]:
        """One for each image.

        Args:
            read: what the head read off the maps.
            sigma: standard deviation about centres in pixels of the map.
            stride: pixels at the network's scale for one pixel of the maps.
            shown: size of the images at the network's scale.
            sizes: of the images.
        """
        touched = tuple(-(-side // stride) for side in shown)
        peaks = find_peaks(
            _cut(read.centres, touched),
            NEAR * sigma,
            least=FAINT,
            most=most_centres(touched),
            shape=_cut(read.shapes, touched),
        )
        maps = [_cut(part, touched) for part in (read.foreground, read.offsets)]
        kinds = None if read.kinds is None else _cut(read.kinds, touched)
        found = []
        for i, (size, peak) in enumerate(zip(sizes, peaks, strict=True)):
            ratio = ratio_of(shown, size)
            places = rescale(to_image(peak.points, float(stride)), ratio)
            order = np.lexsort(places.T)
            foreground, offsets = (part[i].cpu().numpy().astype(np.float16) for part in maps)
            told = None if kinds is None else kinds[i].cpu().numpy().astype(np.float16)
            spread = spreads(foreground, offsets, peak.points)
            found.append(
                cls(
                    tuple(size),
                    shown,
                    stride,
                    foreground,
                    offsets,
                    places[order],
                    peak.heat[order],
                    spread[order],
                    told,
                )
            )
        return found

    def aims(self) -> FloatArray:
        """(axes, *size): from each pixel of the image to where its offset points, in its pixels."""
        index = self.index()
        grid = np.stack(np.meshgrid(*index, indexing="ij")[::-1])
        places: tuple[Any, ...] = (slice(None), *np.ix_(*index))
        offsets = self.offsets[places].astype(np.float64)
        aims: FloatArray = np.moveaxis(grid + offsets, 0, -1)
        aims = rescale(to_image(aims, float(self.stride)), ratio_of(self.shown, self.size))
        pixels = np.stack(np.meshgrid(*map(np.arange, self.size), indexing="ij")[::-1], -1)
        found: FloatArray = np.moveaxis(aims - pixels, -1, 0)
        return found

    def index(self) -> list[NDArray[np.intp]]:
        """Along each axis, the pixel of the maps that is nearest to each pixel of the image."""
        ratio = ratio_of(self.size, self.shown)[::-1]
        return [
            ((np.arange(side) + 0.5) * r / self.stride).astype(np.intp).clip(0, count - 1)
            for side, r, count in zip(self.size, ratio, self.foreground.shape, strict=True)
        ]

    def chances(self) -> NDArray[np.float32]:
        """(*size,) probability that a pixel of the image is foreground."""
        maps = torch.from_numpy(self.foreground.astype(np.float32))[None, None]
        mode = LINEAR[len(self.size) - 1]
        if self.stride > 1:
            maps = functional.interpolate(maps, scale_factor=self.stride, mode=mode)
            maps = _cut(maps[0], self.shown)[None]
        if self.shown != tuple(self.size):
            maps = functional.interpolate(maps, tuple(self.size), mode=mode)
        return np.asarray(maps[0, 0].numpy())

    def centres_for(self, limits: Limits) -> tuple[FloatArray, FloatArray]:
        """(n, axes) places of the centres that count, and their (n,) scores."""
        scores = self.heat * np.exp(-limits.agreement * self.spreads)
        kept = scores >= limits.centre
        return self.centres[kept], scores[kept]

    def found(self, limits: Limits) -> Found:
        """The objects."""
        return Grouped(self, limits).found(limits.foreground)


class Grouped:
    """The votes of an image's pixels, for the centres that count and any threshold of foreground.

    Args:
        evidence: what the maps say.
        limits: which centres count.
    """

    def __init__(self, evidence: Evidence, limits: Limits) -> None:
        self.evidence, self.limits, self.chances = evidence, limits, evidence.chances()
        centres, self.scores = evidence.centres_for(limits)
        self.votes = vote(centres, evidence.aims(), self.chances > FAINT)

    def found(self, foreground: float) -> Found:
        """The objects for a threshold of the foreground, of `FAINT` or more."""
        votes = np.where(self.chances > foreground, self.votes, 0)
        labels, new = made_whole(votes)
        centres = np.concatenate([self.scores[: votes.max(initial=0)], self.scores[new - 1]])
        areas = np.bincount(labels.ravel(), minlength=len(centres) + 1)
        there = areas >= SMALLEST
        there[0] = False
        number = np.where(there, np.cumsum(there), 0).astype(np.int32)
        labels = number[labels]
        count = int(there.sum())
        sums = np.bincount(labels.ravel(), self.chances.ravel(), count + 1)[1:]
        scores = centres[there[1:]] * sums / areas[there]
        return Found(labels, scores, self._kinds(labels, count))

    def _kinds(self, labels: NDArray[np.int32], count: int) -> NDArray[np.int32]:
        """(n,) the kind with the largest sum of probabilities over an object's pixels."""
        told = self.evidence.kinds
        if told is None or not count:
            return np.zeros(count, np.int32)
        index = np.ix_(*self.evidence.index())
        flat = labels.ravel()
        sums = [np.bincount(flat, one[index].ravel().astype(float), count + 1)[1:] for one in told]
        return np.asarray(np.argmax(sums, 0), np.int32)


def spreads(
    foreground: NDArray[np.floating], offsets: NDArray[np.floating], points: FloatArray
) -> FloatArray:
    """How far the votes for each centre lie from it: 0 where all of its pixels point at it.

    The mean distance of the votes that are nearest to it, over the diameter of a disc (or ball, or
    interval) of as many pixels.

    Args:
        foreground: (*map) probabilities; pixels up to `SURE` are not asked. May be in a file.
        offsets: (axes, *map) of (x, y, …) in pixels of the map. May be in a file.
        points: (n, axes) of (x, y, …): the centres in pixels of the map.

    Returns:
        (n,); `NOWHERE` for a centre that no pixel points at.

    Raises:
        ShapeError: an offset is NaN or infinite.

    Example:
        >>> offsets = np.array([[1.0, 0.0, -1.0, 1.0, 1.0, 1.0]])
        >>> spreads(np.ones(6), offsets, np.array([[1.0], [5.0]])).round(2).tolist()
        [0.0, 0.22]
    """
    sums, counts = np.zeros((2, len(points)))
    if not len(points):
        return sums
    tall = max(1, STRIP // max(1, math.prod(foreground.shape[1:])))
    for first in range(0, len(foreground), tall):
        mask = np.asarray(foreground[first : first + tall]) > SURE
        pixels = np.argwhere(mask)[:, ::-1].astype(np.float64)
        pixels[:, -1] += first
        votes = pixels + np.asarray(offsets[:, first : first + tall])[:, mask].T
        own = nearest(votes, points)
        sums += np.bincount(own, np.linalg.norm(votes - points[own], axis=1), len(points))
        counts += np.bincount(own, minlength=len(points))
    found = np.full(len(points), NOWHERE)
    asked = counts > 0
    found[asked] = sums[asked] / counts[asked] / diameters(counts, foreground.ndim)
    return found


def most_centres(size: Size) -> int:
    """Centres that are read off maps of this size, see `find_peaks`."""
    return max(MOST, math.prod(size) // ROOM)


def _cut(maps: Tensor, size: Size) -> Tensor:
    """The first pixels of the last axes: without padding."""
    for axis, side in enumerate(size, maps.ndim - len(size)):
        maps = maps.narrow(axis, 0, min(side, maps.shape[axis]))
    return maps
