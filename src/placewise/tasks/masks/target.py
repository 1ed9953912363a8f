"""What is labelled on an image: the class of each pixel, moved with the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.augment import Chain, Homography, Warp, warp_labels
from placewise.geometry import Size
from placewise.labels import MaskDataset, MaskSample
from placewise.metrics import skeleton
from placewise.task import Target

KEPT_BYTES = 1 << 30
"""Masks are kept in memory up to this, in each process that prepares batches."""

THICKER = 5
"""Side in pixels of the square that a skeleton is dilated with: twice one of 3."""

Numbers = NDArray[np.int16]


class Truth(NamedTuple):
    """What the labels say of an image.

    Attributes:
        mask: (*size,) 0 background, k a class, −1 ignored.
        line: (*size,) the same on the skeletons of the classes, 0 elsewhere; None where no loss
            needs it.
    """

    mask: Numbers
    line: Numbers | None


class Store:
    """Masks that were read, as far as they fit into memory.

    Args:
        skeletons: whether the skeletons are needed too.
    """

    def __init__(self, *, skeletons: bool = False) -> None:
        self.skeletons = skeletons
        self._kept: dict[tuple[Any, ...], tuple[Any, Truth]] = {}
        self._room = KEPT_BYTES

    def truth(self, dataset: MaskDataset, sample: MaskSample) -> Truth:
        """What the labels say of an image."""
        key = (id(sample.truth), dataset.names, dataset.order)
        if key in self._kept:
            return self._kept[key][1]
        mask = dataset.mask(sample).astype(np.int16)
        found = Truth(mask, _lines(mask, len(dataset.names)) if self.skeletons else None)
        size = 2 * mask.nbytes if self.skeletons else mask.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[key] = sample.truth, found  # which keeps the number of the source taken
        return found


def _lines(mask: Numbers, classes: int) -> Numbers:
    """Skeletons of the classes with their numbers."""
    found = np.zeros_like(mask)
    for number in range(1, classes + 1):
        found[skeleton(mask == number)] = number
    return found


@dataclass(frozen=True)
class MaskTarget(Target):
    """The class of each pixel.

    Attributes:
        read: gives what the labels say.
        size: of the labelled image.
        ratio: (x, y, …) pixels of the scaled image for one pixel of the labelled one.
    """

    read: Callable[[], Truth]
    size: Size
    ratio: tuple[float, ...] = ()

    def scaled(self, ratio: tuple[float, ...]) -> MaskTarget:
        """See `Target.scaled`; the numbers themselves are sampled once, by `encode`."""
        return replace(self, ratio=ratio)

    def encode(self, warp: Warp) -> tuple[torch.Tensor, torch.Tensor]:
        """(*size,) int16 classes, and the same on their thickened skeletons.

        What lies beyond the image is ignored.
        """
        mask, line = self.read()
        whole = warp if set(self.ratio) <= {1.0} else Chain(rescaling(self.size, self.ratio), warp)
        truth = warp_labels(mask, whole)
        if line is None:
            return torch.from_numpy(truth), torch.zeros((), dtype=torch.int16)
        return torch.from_numpy(truth), torch.from_numpy(thickened(warp_labels(line, whole), truth))


def thickened(line: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
    """Skeletons dilated twice by a cube of 3 and cut to what they are skeletons of.

    Example:
        >>> thickened(np.array([0, 0, 0, 1, 0]), np.array([0, 1, 1, 1, 0])).tolist()
        [0, 1, 1, 1, 0]
    """
    from scipy import ndimage

    near = ndimage.maximum_filter(line, THICKER, mode="constant", cval=0)
    return np.where((near > 0) & (truth > 0), truth, 0).astype(truth.dtype)


def rescaling(size: Size, ratio: tuple[float, ...]) -> Homography:
    """From the labelled image to the scaled one: p ← (p + ½) · ratio − ½ along each axis.

    Args:
        size: of the labelled image.
        ratio: (x, y, …) pixels of the scaled image for one pixel of the labelled one.

    Example:
        >>> rescaling((4, 8), (0.5, 0.5)).forward(np.array([[0.5, 2.5]]))
        array([[0., 1.]])
    """
    matrix = np.diag([*ratio, 1.0])
    matrix[:-1, -1] = 0.5 * np.array(ratio) - 0.5
    scaled = (max(1, round(s * r)) for s, r in zip(size, ratio[::-1], strict=True))
    return Homography(matrix, tuple(scaled))
