"""What is labelled on an image: which object each pixel belongs to, moved with the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.augment import Warp, warp_labels
from placewise.geometry import FloatArray
from placewise.labels import InstanceDataset, InstanceSample
from placewise.metrics import at_border
from placewise.tasks import _label_maps as label_maps

Labels = NDArray[np.int32]
Truth = tuple[Labels, NDArray[np.int32]]
"""(*size,) 0 background, 1 … n objects, −1 not known; and (n,) kinds."""


class Store(label_maps.Store[Truth]):
    """Label maps that were read, as far as they fit into memory."""

    def read(self, dataset: InstanceDataset, sample: InstanceSample) -> tuple[Truth, int]:
        """Objects and their kinds; see `_label_maps.Store.read`."""
        found = dataset.instances(sample)
        return found, found[0].nbytes


@dataclass(frozen=True)
class InstanceTarget(label_maps.LabelMapTarget[Truth]):
    """The object of each pixel.

    Attributes:
        several: whether there are several kinds.
    """

    several: bool = False

    def encode(self, warp: Warp) -> tuple[torch.Tensor, torch.Tensor]:
        """(*size,) int32 objects, and (*size,) int16 kinds; () where there is one kind.

        What lies beyond the image is not known. An object that the border cuts into parts is
        several: each part has a centre of its own, which lies in it.
        """
        labels, kinds = self.read()
        shown = warp_labels(labels, self.whole(warp))
        told = np.zeros((), np.int16)
        if self.several:
            told = np.concatenate([[0], kinds, [0]]).astype(np.int16)[shown]
        return torch.from_numpy(parts_apart(shown)), torch.from_numpy(told)


def parts_apart(labels: NDArray[np.integer[Any]]) -> Labels:
    """Label maps in which each part of an object that the border cuts has a number of its own.

    Objects that do not touch the border are left as they are, also those in several parts.

    Args:
        labels: (*size) 0 background, above 0 objects, below 0 not known.

    Example:
        >>> parts_apart(np.array([[4, 4, 0, 4], [0, 0, 0, 4]])).tolist()
        [[4, 4, 0, 5], [0, 0, 0, 5]]
    """
    from scipy import ndimage

    found: Labels = labels.astype(np.int32)
    cut = at_border(found)
    if not len(cut):
        return found
    boxes, most = ndimage.find_objects(found.clip(0)), int(found.max())
    touching = np.ones((3,) * found.ndim, bool)
    for number in cut.tolist():
        box = boxes[number - 1]
        pieces, count = ndimage.label(found[box] == number, touching)
        for piece in range(2, count + 1):
            most += 1
            found[box][pieces == piece] = most
    return found


def diameters(areas: Any, axes: int) -> FloatArray:
    """Diameters of discs, balls or intervals of these contents in pixels; those of 0 left out.

    Example:
        >>> diameters(np.array([0, 314]), 2).round(1).tolist()
        [20.0]
    """
    known = np.asarray(areas, np.float64)
    known = known[known > 0]
    unit = (1.0, np.pi / 4, np.pi / 6)[axes - 1]
    sizes: FloatArray = (known / unit) ** (1 / axes)
    return sizes
