"""What masks and objects share: label maps that are read once and move with the pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from placewise.augment import Chain, Homography, Warp
from placewise.geometry import Size
from placewise.readers import reader_of
from placewise.task import Target

T = TypeVar("T")

KEPT_BYTES = 1 << 30
"""Label maps are kept in memory up to this, in each process that prepares batches."""


class Store(ABC, Generic[T]):
    """What was read of label maps, as far as it fits into memory."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], tuple[Any, T]] = {}
        self._room = KEPT_BYTES

    @abstractmethod
    def read(self, dataset: Any, sample: Any) -> tuple[T, int]:
        """What the labels say of an image, and the bytes that it takes."""

    def truth(self, dataset: Any, sample: Any) -> T:
        """The same, read but once as far as it can be kept."""
        key = (id(sample.truth), dataset.names, dataset.order)
        if key in self._kept:
            return self._kept[key][1]
        found, size = self.read(dataset, sample)
        if size <= self._room:
            self._room -= size
            self._kept[key] = sample.truth, found  # which keeps the number of the source taken
        return found


@dataclass(frozen=True)
class LabelMapTarget(Target, Generic[T]):
    """A label map, whose numbers are sampled once, by the warp of the whole way.

    Attributes:
        read: gives what the labels say.
        size: of the labelled image.
        ratio: (x, y, …) pixels of the scaled image for one pixel of the labelled one.
    """

    read: Callable[[], T]
    size: Size
    ratio: tuple[float, ...] = ()

    def scaled(self, ratio: tuple[float, ...]) -> Self:
        """See `Target.scaled`; the numbers themselves are sampled by `encode`."""
        return replace(self, ratio=ratio)

    def whole(self, warp: Warp) -> Warp:
        """From the labelled image to what the network sees."""
        return warp if set(self.ratio) <= {1.0} else Chain(rescaling(self.size, self.ratio), warp)


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


def volume_file(
    labels: NDArray[np.integer], image: str, source: Path | None, key: str
) -> tuple[str, bytes]:
    """(name, content) of the file of a label map of a volume or a recording.

    It is a file like that of the image (NIfTI with its affine, a TIFF stack with its distances)
    where such files hold label maps, else an npz file.

    Args:
        labels: (*size,) whole numbers.
        image: name of the image.
        source: its file; None where it is in none.
        key: name of the array in an npz file.
    """
    reader = None if source is None else reader_of(source)
    data = None if reader is None or source is None else reader.alike(source, labels)
    if data is not None:
        return image, data
    held = BytesIO()
    arrays: dict[str, Any] = {key: labels}
    np.savez_compressed(held, **arrays)
    return f"{image.removesuffix('.npz')}.npz", held.getvalue()
