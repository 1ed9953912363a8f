"""What the demos of several tasks share: where made images, recordings and volumes are put."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from placewise.errors import SettingsError
from placewise.files import claim_folder
from placewise.wording import IMAGES_OF

RATE = 100
"""Samples of a made recording in a second."""

SPACING = (1.0, 1.0, 1.0)
"""Millimetres between the voxels of a made volume."""


def begin(folder: Path, count: int, *parts: str) -> None:
    """Make the folder and the folders in it.

    Args:
        folder: new or empty.
        count: images that are wanted.
        parts: names of the folders.

    Raises:
        SettingsError: the folder is not empty, or no image is wanted.
    """
    if count < 1:
        raise SettingsError(f"cannot write {count} images; ask for at least 1")
    claim_folder(folder, "")
    for part in parts:
        (folder / part).mkdir(parents=True)


def split_of(number: int) -> str:
    """Of ten images, six are for training and two each for validation and test.

    Example:
        >>> [split_of(number) for number in (0, 5, 6, 8, 19)]
        ['train', 'train', 'val', 'test', 'test']
    """
    return "train" if number % 10 < 6 else "val" if number % 10 < 8 else "test"


def save(folder: Path, number: int, pixels: NDArray[np.uint8], **more: NDArray[Any]) -> str:
    """Write an image as PNG, or a recording or a volume as arrays of numpy; returns its name.

    Args:
        folder: that `begin` made.
        number: of the image.
        pixels: (*size,) grey levels.
        more: further arrays, for recordings and volumes alone.
    """
    name = f"{IMAGES_OF[pixels.ndim]}/{number:03d}"
    if pixels.ndim == 2:
        Image.fromarray(pixels).save(folder / f"{name}.png")
        return f"{name}.png"
    own = {"signal": pixels, "fs": RATE} if pixels.ndim == 1 else {"image": pixels}
    own |= {"spacing_mm": np.array(SPACING)} if pixels.ndim == 3 else {}
    np.savez_compressed(folder / f"{name}.npz", **own, **more)  # type: ignore[arg-type]
    return f"{name}.npz"
