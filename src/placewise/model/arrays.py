"""What a user hands over as images, made into arrays: (height, width, channels)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from placewise.errors import ShapeError
from placewise.images import ImageArray, list_images, read_image

KINDS = (np.uint8, np.uint16, np.float32, np.float64)
"""Types of numbers that an image may have."""


def images_of(given: Any) -> tuple[Iterator[tuple[str, ImageArray]], bool]:
    """(name, array) of each image, and whether several were given.

    Args:
        given: see `Network.predict`.

    Raises:
        ShapeError: it is no image and no iterable of images.

    Example:
        >>> named, several = images_of(np.zeros((8, 9), np.uint8))
        >>> [(name, image.shape) for name, image in named], several
        ([('', (8, 9, 1))], False)
    """
    if isinstance(given, str | PathLike):
        path = Path(given)
        if path.is_dir():
            files = list_images(path)
            return ((f.relative_to(path).as_posix(), read_image(f)) for f in files), True
        return iter([(path.name, read_image(path))]), False
    if isinstance(given, Tensor):
        arrays = _planes(given)
        return (("", array) for array in arrays), given.ndim == 4
    if isinstance(given, np.ndarray):
        several = given.ndim == 4
        return (("", as_image(image)) for image in (given if several else [given])), several
    if not isinstance(given, Iterable):
        raise ShapeError(
            f"got {type(given).__name__}; give an array (H×W or H×W×C), a tensor (C×H×W), the path "
            "of an image or of a folder, or an iterable of them"
        )
    return chain.from_iterable(images_of(one)[0] for one in given), True


def as_image(values: NDArray[Any]) -> ImageArray:
    """An array as an image: (height, width, 1 or 3), uint8, uint16, or float32 in 0..1.

    Raises:
        ShapeError: the array has another shape or type, or values that no image has.

    Example:
        >>> as_image(np.zeros((3, 8, 9)))
        Traceback (most recent call last):
        ...
        placewise.errors.ShapeError: got an array of shape (3, 8, 9); ... torch tensor
    """
    image = values[..., None] if values.ndim == 2 else values
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ShapeError(
            f"got an array of shape {values.shape}; an image is (height, width) or (height, width, "
            "1 or 3): move the channels to the end, or give a torch tensor"
        )
    if image.dtype not in KINDS:
        raise ShapeError(
            f"got an array of {image.dtype}; an image is uint8, uint16, or float32 or float64 in "
            "0..1: convert it"
        )
    if image.dtype.kind != "f":
        return image
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):
        raise ShapeError(
            f"got numbers from {low:g} to {high:g}; an image of {image.dtype} has 0..1: divide by "
            "its white, or give uint8 or uint16"
        )
    return image.astype(np.float32, copy=False)


def _planes(given: Tensor) -> Iterator[ImageArray]:
    """Images of a tensor (C×H×W) or (batch×C×H×W)."""
    if given.ndim not in (3, 4) or given.shape[-3] not in (1, 3):
        raise ShapeError(
            f"got a tensor of shape {tuple(given.shape)}; an image is (1 or 3, height, width), and "
            "several are (batch, 1 or 3, height, width)"
        )
    values = given.detach()
    values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    try:
        arrays = values.cpu().numpy()
    except (RuntimeError, TypeError) as error:
        raise ShapeError(
            f"got a tensor that cannot be read as an array: {error}; give a dense one with values"
        ) from error
    batch = arrays if arrays.ndim == 4 else arrays[None]
    return (as_image(np.moveaxis(image, 0, -1)) for image in batch)
