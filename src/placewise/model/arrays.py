"""What a user hands over as images, signals or volumes, made into arrays (*size, channels)."""

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
from placewise.images import ImageArray
from placewise.labels import Files
from placewise.model.inputs import Spacing
from placewise.model.kinds import AXES, KINDS
from placewise.readers import LARGEST, as_measured, list_files

DEPTHS = (np.uint8, np.uint16, np.float32, np.float64)
"""Types of numbers that an image may have."""

SHAPES = {1: "L", 2: "H×W", 3: "D×H×W"}
"""What is said by number of axes."""


Given = tuple[str, ImageArray, Spacing | None]
"""(name, array, distance of its pixels along each axis)."""


def images_of(given: Any, axes: int = 2) -> tuple[Iterator[Given], bool]:
    """(name, array, spacing) of each image, and whether several were given.

    Args:
        given: see `Network.predict`.
        axes: of an image.

    Raises:
        ShapeError: it is no image and no iterable of images.

    Example:
        >>> named, several = images_of(np.zeros((8, 9), np.uint8))
        >>> [(name, image.shape) for name, image, _ in named], several
        ([('', (8, 9, 1))], False)
    """
    if isinstance(given, str | PathLike):
        path = Path(given)
        root = path if path.is_dir() else path.parent
        files, source = list_files(path, axes), Files(root)
        names = [file.relative_to(root).as_posix() for file in files]
        found = ((name, source.read(name), source.spacing(name)) for name in names)
        return found, path.is_dir()
    if isinstance(given, Tensor):
        return (("", array, None) for array in _planes(given, axes)), given.ndim == axes + 2
    if isinstance(given, np.ndarray):
        several = given.ndim == axes + 2
        each = given if several else [given]
        return (("", as_image(image, axes), None) for image in each), several
    if not isinstance(given, Iterable):
        raise ShapeError(
            f"got {type(given).__name__}; give an array ({SHAPES[axes]}, or the same × C), a "
            f"tensor (C×{SHAPES[axes]}), the path of an image or of a folder, or an iterable of "
            "them"
        )
    return chain.from_iterable(images_of(one, axes)[0] for one in given), True


def as_image(values: NDArray[Any], axes: int = 2) -> ImageArray:
    """An array as an image (height, width, 1 or 3), as a signal or as a volume (*size, channels).

    Raises:
        ShapeError: the array has another shape or type, or values that no image has.

    Example:
        >>> as_image(np.zeros((3, 8, 9)))
        Traceback (most recent call last):
        ...
        placewise.errors.ShapeError: got an array of shape (3, 8, 9); ... torch tensor
        >>> as_image(np.zeros(1000, np.int16), axes=1).shape
        (1000, 1)
    """
    image = values[..., None] if values.ndim == axes else values
    if axes != 2:
        return _measured(image, axes)
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ShapeError(
            f"got an array of shape {values.shape}; an image is (height, width) or (height, width, "
            "1 or 3): move the channels to the end, or give a torch tensor"
        )
    if image.dtype not in DEPTHS:
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


def _measured(values: NDArray[Any], axes: int) -> ImageArray:
    """A signal or a volume: any finite numbers."""
    if values.ndim != axes + 1 or 0 in values.shape or values.dtype.kind not in "iuf":
        raise ShapeError(
            f"got an array of {values.dtype} and shape {values.shape}; {KINDS[axes]} has numbers "
            f"of shape {SHAPES[axes]} or {SHAPES[axes]}×C: move the channels to the end"
        )
    found = as_measured(values)
    if found is None:
        raise ShapeError(
            f"got numbers that are not finite numbers up to {LARGEST:g}; replace them, or cut them "
            "out"
        )
    return values if values.dtype in DEPTHS[:2] else found


def _planes(given: Tensor, axes: int) -> Iterator[ImageArray]:
    """Images of a tensor (C×*size) or (batch×C×*size)."""
    several = given.ndim == axes + 2
    able = several or given.ndim == axes + 1
    if not able or (axes == 2 and given.shape[-3] not in (1, 3)):
        channels = "1 or 3" if axes == 2 else "channels"
        raise ShapeError(
            f"got a tensor of shape {tuple(given.shape)}; {KINDS[axes]} is ({channels}, "
            f"{AXES[axes]}), and several are (batch, {channels}, {AXES[axes]})"
        )
    values = given.detach()
    values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    try:
        arrays = values.cpu().numpy()
    except (RuntimeError, TypeError) as error:
        raise ShapeError(
            f"got a tensor that cannot be read as an array: {error}; give a dense one with values"
        ) from error
    batch = arrays if several else arrays[None]
    return (as_image(np.moveaxis(image, 0, -1), axes) for image in batch)
