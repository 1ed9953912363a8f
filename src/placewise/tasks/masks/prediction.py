"""What the pixels of one image seem to be: one type from the model to the file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.files import make_folder, write_bytes
from placewise.geometry import Size
from placewise.labels.names import name_beside
from placewise.metrics import pieces
from placewise.tasks._label_maps import volume_file

FOLDER = "masks"
"""Folder of the masks in that of the results."""

COLUMNS = ("image", "class", "area", "share", "components")


@dataclass(frozen=True)
class MaskPrediction:
    """What the pixels of one image seem to be.

    Attributes:
        names: of the classes, without the background.
        image: name of the image; empty for an array.
        size: of the image, in the order of its axes.
        likeliest: (*size,) likeliest class of each pixel, 0 the background; of one class 1.
        chances: (*size,) float16 probability of it.
        threshold: above which a pixel is of the one class; chosen on validation images.

    Example:
        >>> chances = np.array([[0.2, 0.9]], np.float16)
        >>> one = MaskPrediction(("cell",), "a.png", (1, 2), np.ones((1, 2), np.uint8), chances)
        >>> one.mask.tolist(), one.rows()
        ([[0, 1]], [['a.png', 'cell', 1, 0.5, 1]])
    """

    names: tuple[str, ...]
    image: str
    size: Size
    likeliest: NDArray[Any]
    chances: NDArray[np.float16]
    threshold: float = 0.5

    @cached_property
    def mask(self) -> NDArray[Any]:
        """(*size,) 0 background, k the class names[k − 1]."""
        if len(self.names) > 1:
            return self.likeliest
        return (self.chances > self.threshold).astype(np.uint8)

    def rows(self) -> list[list[Any]]:
        """A row of `predictions.csv` for each class: its pixels, their share, and its pieces."""
        found = []
        for number, name in enumerate(self.names, 1):
            there = self.mask == number
            area = int(there.sum())
            found.append([self.image, name, area, round(area / there.size, 6), pieces(there)])
        return found

    def save(self, folder: Path, source: Path | None = None) -> None:
        """Write the mask: a PNG of indices with colours; of a volume see `volume_file`.

        Args:
            folder: of the results.
            source: the file of the image.
        """
        if len(self.size) == 2:
            name, data = name_beside(self.image), _png(self.mask)
        else:
            name, data = volume_file(self.mask, self.image, source, "mask")
        target = folder / FOLDER / name
        make_folder(target.parent)
        write_bytes(target, data)


def _png(mask: NDArray[Any]) -> bytes:
    """Indices as PNG: with a colour table up to 255 classes, with 16 bits beyond."""
    from io import BytesIO

    from PIL import Image

    if mask.max(initial=0) > 255:
        image = Image.fromarray(mask.astype(np.uint16))
    else:
        image = Image.frombytes("P", mask.shape[::-1], mask.astype(np.uint8).tobytes())
        image.putpalette(colours())
    written = BytesIO()
    image.save(written, "PNG", optimize=False)
    return written.getvalue()


def colours() -> list[int]:
    """Red, green and blue of the colours that classes have in a PNG, the background first."""
    from placewise.report.style import mark

    table = [(0, 0, 0), *(mark(k)[0] for k in range(255))]
    return [value for colour in table for value in colour]
