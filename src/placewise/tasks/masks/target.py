"""What is labelled on an image: the class of each pixel, moved with the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.augment import Warp, warp_labels
from placewise.labels import MaskDataset, MaskSample
from placewise.metrics import skeleton
from placewise.tasks import _label_maps as label_maps

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


class Store(label_maps.Store[Truth]):
    """Masks that were read, as far as they fit into memory.

    Args:
        skeletons: whether the skeletons are needed too.
    """

    def __init__(self, *, skeletons: bool = False) -> None:
        super().__init__()
        self.skeletons = skeletons

    def read(self, dataset: MaskDataset, sample: MaskSample) -> tuple[Truth, int]:
        """A mask, with its skeletons if they are needed; see `_label_maps.Store.read`."""
        mask = dataset.mask(sample).astype(np.int16)
        if not self.skeletons:
            return Truth(mask, None), mask.nbytes
        return Truth(mask, _lines(mask, len(dataset.names))), 2 * mask.nbytes


def _lines(mask: Numbers, classes: int) -> Numbers:
    """Skeletons of the classes with their numbers."""
    found = np.zeros_like(mask)
    for number in range(1, classes + 1):
        found[skeleton(mask == number)] = number
    return found


@dataclass(frozen=True)
class MaskTarget(label_maps.LabelMapTarget[Truth]):
    """The class of each pixel."""

    def encode(self, warp: Warp) -> tuple[torch.Tensor, torch.Tensor]:
        """(*size,) int16 classes, and the same on their thickened skeletons.

        What lies beyond the image is ignored.
        """
        (mask, line), whole = self.read(), self.whole(warp)
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
