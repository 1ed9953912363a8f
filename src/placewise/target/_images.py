"""Read images for a network that is audited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.images import ImageArray, as_float, list_images, read_image, resize

MOST = 32
"""Most images that are read; of a larger folder, as many at equal distances."""


def read_images(
    where: str | Path,
    shape: tuple[int, ...],
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    *,
    most: int = MOST,
    progress: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Read images and bring them to one size: their middles, resized so that the shorter side fits.

    Args:
        where: an image, or a folder that is searched with its subfolders.
        shape: (channels, height, width) of each, 1 or 3 channels.
        mean: of each channel, to subtract; None: images stay in 0..1.
        std: of each channel, to divide by.
        most: largest number of images.
        progress: called with (done, total).

    Returns:
        (images, channels, height, width) float32.

    Raises:
        ImageError: there is no image, or one cannot be read.
        SettingsError: the shape is not that of an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "grey.pgm").write_bytes(b"P5 3 2 255 abcdef")
        ...     read_images(Path(folder), (3, 4, 4)).shape
        torch.Size([1, 3, 4, 4])
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise SettingsError(
            f"--data reads images with 1 or 3 channels, but the network is audited with "
            f"{shape[0]} channels and {len(shape) - 1} axes; leave --data out to use noise"
        )
    files = list_images(Path(where))
    places = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int))
    found = []
    for done, place in enumerate(places, 1):
        found.append(middle(read_image(files[place]), shape))
        if progress:
            progress(done, len(places))
    images = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()
    if mean is None or std is None:
        return images
    return (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def middle(image: ImageArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The middle of an image, (height, width, channels) in 0..1.

    Args:
        image: (height, width, channels), resized so that the shape just fits.
        shape: (channels, height, width) of the result.

    Example:
        >>> middle(np.zeros((20, 10, 1), np.uint8), (3, 5, 5)).shape
        (5, 5, 3)
    """
    channels, height, width = shape
    ratio = max(height / image.shape[0], width / image.shape[1])
    size = (
        max(height, round(image.shape[0] * ratio)),
        max(width, round(image.shape[1] * ratio)),
    )
    shown = as_float(resize(image, size))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    cut = shown[top : top + height, left : left + width]
    if cut.shape[2] == channels:
        return cut
    if channels == 1:
        return np.asarray(cut.mean(2, keepdims=True, dtype=np.float32))
    return np.repeat(cut, channels, axis=2)
