"""Objects of huge images: grouped strip by strip, and never held.

While tiles come, the hills of centres are kept, and what the maps say of each pixel goes into a
file without a name (2 bytes for the foreground, for each offset and for each kind). Once all
centres are known, each pixel's vote is counted as `Evidence` does it, with the same numbers. The
label map is another such file, of 4 bytes a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.files import make_folder, replacing
from placewise.gathering import Filed, Gathering, Tile
from placewise.geometry import FloatArray, Size, ratio_of, rescale, to_image
from placewise.grouping import nearest
from placewise.heads.instances import FAINT
from placewise.heads.instances import Instances as InstanceHead
from placewise.labels.names import name_beside
from placewise.peaks import HillGathering
from placewise.tasks._strips import resized, write_png
from placewise.tasks.instances.evidence import (
    NEAR,
    SMALLEST,
    STRIP,
    Evidence,
    Limits,
    most_centres,
    spreads,
)
from placewise.tasks.instances.huge_pieces import PieceFinder, make_whole
from placewise.tasks.instances.prediction import DEEP, FOLDER, rows_of

ABOUT = 2
"""Pixels of the maps about a strip that resizing reads."""


@dataclass(frozen=True)
class HugeInstances:
    """The objects on one huge image; the label map is in a file without a name.

    Attributes:
        names: of the kinds.
        image: name of the image.
        size: (height, width) of the image.
        filed: the label map: 0 background, 1 … n objects.
        scores: (n,) see `Found`.
        kinds: (n,) numbers among the names.
        places: (n, 2) mean place (x, y) of each object's pixels.
        areas: (n,) pixels.
        cut: numbers of the objects that touch the border.
    """

    names: tuple[str, ...]
    image: str
    size: Size
    filed: Filed
    scores: FloatArray
    kinds: NDArray[np.intp]
    places: FloatArray
    areas: NDArray[np.intp]
    cut: frozenset[int]

    @property
    def labels(self) -> NDArray[np.int32]:
        """(height, width) label map, which stays in its file."""
        return self.filed.read()

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self) -> list[list[Any]]:
        """A row of `predictions.csv` for each object; see `InstancePrediction.rows`."""
        kinds = [self.names[kind] for kind in self.kinds]
        return rows_of(self.image, kinds, self.places, self.areas, self.scores, self.cut)

    def save(self, folder: Path, source: Path | None = None) -> None:
        """Write the label map strip by strip; see `InstancePrediction.save`."""
        deep = len(self) > DEEP
        name = name_beside(self.image, "tif" if deep else "png")
        target, labels = folder / FOLDER / name, self.labels
        make_folder(target.parent)
        strips = (labels[rows] for rows in _strips(self.size))
        with replacing(target) as part:
            if deep:
                _write_tiff(part, self.size, strips)
                return
            with part.open("wb") as file:
                write_png(file, self.size, (strip.astype(np.uint16) for strip in strips))


def _write_tiff(path: Path, size: Size, strips: Iterator[NDArray[np.int32]]) -> None:
    """A label map of 32 bits."""
    try:
        library: Any = import_module("tifffile")
    except ImportError:
        raise SettingsError(
            f"more than {DEEP:,} objects are written as a TIFF of 32 bits, which needs the package "
            'tifffile; run: pip install "placewise[volumes]"'
        ) from None
    tall = max(1, STRIP // size[1])
    options = {"rowsperstrip": tall, "compression": "zlib", "bigtiff": True}
    library.imwrite(path, strips, shape=size, dtype=np.int32, **options)


def _strips(size: Size) -> Iterator[slice]:
    """Rows of an image in strips."""
    step = max(1, STRIP // size[1])
    for first in range(0, size[0], step):
        yield slice(first, min(first + step, size[0]))


class InstanceGathering(Gathering[HugeInstances]):
    """Hills of centres, and what the maps say of each pixel, in a file.

    Args:
        head: reads the maps.
        names: of the kinds.
        image: name of the image.
        shown: size of the image at the network's scale.
        size: of the image.
        limits: which pixels and which centres count.
    """

    def __init__(
        self,
        head: InstanceHead,
        names: tuple[str, ...],
        image: str,
        shown: Size,
        size: Size,
        limits: Limits,
    ) -> None:
        self.head, self.names, self.image = head, names, image
        self.shown, self.size, self.limits = shown, size, limits
        whole = tuple(-(-side // head.map_stride) for side in shown)
        self.hills = HillGathering(
            1,
            whole,
            lambda output: head.criterion.read(output[:, 1:2], head.sigma),
            head.criterion.reach(head.sigma),
            radius=NEAR * head.sigma,
            least=FAINT,
            most=most_centres(whole),
        )
        self.margin = self.hills.margin
        told = head.kinds if head.kinds > 1 else 0
        self.maps = Filed((3 + told, *whole), np.float16)

    def add(self, tile: Tile) -> None:
        """See `Gathering.add`."""
        read = self.head.read(tile.inside()[None])
        self.hills.take(tile, read.centres, read.shapes)
        parts = [read.foreground, read.offsets[0]]
        parts += [] if read.kinds is None else [read.kinds[0]]
        own = tile.own(torch.cat(parts)).cpu().numpy()
        self.maps.write(own, [part.start for part in tile.core])

    def result(self) -> HugeInstances:
        """See `Gathering.result`."""
        maps, (peaks,) = self.maps.read(), self.hills.result()
        ratio = ratio_of(self.shown, self.size)
        centres = rescale(to_image(peaks.points, float(self.head.map_stride)), ratio)
        order = np.lexsort(centres.T)
        evidence = Evidence(
            self.size,
            self.shown,
            self.head.map_stride,
            maps[0],
            maps[1:3],
            centres[order],
            peaks.heat[order],
            spreads(maps[0], maps[1:3], peaks.points)[order],
            maps[3:] if len(maps) > 3 else None,
        )
        return _Grouped(evidence, self.limits).found(self.names, self.image)


class _Grouped:
    """The objects of evidence that is in a file.

    Args:
        evidence: what the maps say.
        limits: which pixels and which centres count.
    """

    def __init__(self, evidence: Evidence, limits: Limits) -> None:
        self.evidence, self.foreground = evidence, max(limits.foreground, FAINT)
        self.centres, self.scores = evidence.centres_for(limits)
        self.index = evidence.index()

    def found(self, names: tuple[str, ...], image: str) -> HugeInstances:
        """The objects."""
        size = self.evidence.size
        filed, finder = Filed(size, np.int32), PieceFinder(size[1])
        for rows in _strips(size):
            votes = self._votes(rows)
            filed.write(votes, (rows.start, 0))
            finder.add(votes, rows.start)
        labels, pieces = filed.read(), finder.pieces()
        new = make_whole(labels, pieces)
        top = int(pieces.label.max(initial=0))
        scores = np.concatenate([self.scores[:top], self.scores[new - 1]])
        areas = np.zeros(len(scores) + 1, np.intp)
        for rows in _strips(size):
            areas += np.bincount(labels[rows].ravel(), minlength=len(areas))
        there = areas >= SMALLEST
        there[0] = False
        number = np.where(there, np.cumsum(there), 0).astype(np.int32)
        sums = self._sums(labels, number, int(there.sum()))
        area = areas[there]
        kinds = sums[3:].argmax(0) if len(sums) > 3 else np.zeros(len(area), np.intp)
        edges = [labels[0], labels[-1], labels[:, 0], labels[:, -1]]
        cut = frozenset(np.unique(np.concatenate(edges)).tolist()) - {0}
        places = (sums[1:3] / area).T
        found = scores[there[1:]] * sums[0] / area
        return HugeInstances(names, image, size, filed, found, kinds, places, area, cut)

    def _votes(self, rows: slice) -> NDArray[np.int32]:
        """(rows, width) the centre that each pixel of the foreground points at, from 1."""
        mask = self._chances(rows) > self.foreground
        labels = np.zeros(mask.shape, np.int32)
        if not (mask.any() and len(self.centres)):
            return labels
        y, x = np.nonzero(mask)
        down, across = self.index[0][rows][y], self.index[1][x]
        first = down[0]
        offsets = np.asarray(self.evidence.offsets[:, first : down[-1] + 1])
        pixels = np.stack([across, down], -1).astype(np.float64)
        votes = pixels + offsets[:, down - first, across].T
        ratio = ratio_of(self.evidence.shown, self.evidence.size)
        aims: FloatArray = rescale(to_image(votes, float(self.evidence.stride)), ratio)
        labels[mask] = nearest(aims, self.centres) + 1
        return labels

    def _chances(self, rows: slice) -> NDArray[np.float32]:
        """(rows, width) probability that a pixel is foreground; see `Evidence.chances`."""
        stride, shown, size = self.evidence.stride, self.evidence.shown, self.evidence.size
        step = shown[0] / size[0] / stride
        first = max(0, int(rows.start * step) - ABOUT)
        last = min(len(self.evidence.foreground), int(rows.stop * step) + 1 + ABOUT)
        part = np.asarray(self.evidence.foreground[first:last], np.float32)
        maps = torch.from_numpy(part)[None]
        if stride > 1:
            maps = functional.interpolate(maps[None], scale_factor=stride, mode="bilinear")[0]
        wanted = rows, slice(0, size[1])
        return np.asarray(resized(maps, (first * stride, 0), wanted, shown, size)[0].numpy())

    def _sums(self, labels: NDArray[np.int32], number: NDArray[np.int32], count: int) -> FloatArray:
        """(3 + kinds, count) sums over each object's pixels: probability, x, y, of each kind.

        Labels get their last numbers on the way.
        """
        told = self.evidence.kinds
        sums = np.zeros((3 + (0 if told is None else len(told)), count + 1))
        for rows in _strips(self.evidence.size):
            labels[rows] = number[labels[rows]]
            y, x = np.nonzero(labels[rows])
            own = labels[rows][y, x]
            weights = [self._chances(rows)[y, x], x, y + rows.start]
            if told is not None:
                down, across = self.index[0][rows][y], self.index[1][x]
                weights += [one[down, across].astype(np.float64) for one in told]
            for place, weight in enumerate(weights):
                sums[place] += np.bincount(own, weight, count + 1)
        return sums[:, 1:]
