"""Signals, images and volumes: what they are called, and that a network reads one kind alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import DataError, ShapeError
from placewise.labels import Dataset, Sample
from placewise.labels.names import shown
from placewise.wording import IMAGES_OF, counted

KINDS = {1: "a signal", 2: "an image", 3: "a volume"}
AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}
"""What is said by number of axes."""

SAVED = {
    1: "save it as .wav, .csv or .npz",
    2: "save it as PNG or TIFF",
    3: "save it as a TIFF with the axes ZYX, as .nii.gz or as .npz",
}
"""What to do about a file with another number of axes, by the number that is needed."""


def axes_of(samples: Sequence[Sample]) -> int:
    """Axes of the images, which all must have as many.

    Raises:
        DataError: names two that differ.
    """
    axes = {len(sample.size): sample.image for sample in samples}
    if len(axes) > 1:
        (one, first), (other, second), *_ = axes.items()
        raise DataError(
            f"{shown(first)} has {one} axes, and {shown(second)} {other}; a network reads signals, "
            "images or volumes: train on one kind"
        )
    return next(iter(axes))


def check_channels(dataset: Dataset[Any], axes: int) -> None:
    """Refuse signals and volumes of several numbers of channels, as far as their headers say them.

    Raises:
        DataError: names two of them.
    """
    if axes == 2:
        return
    found: dict[int, str] = {}
    for sample in dataset.samples:
        count = dataset.images.channels(sample.image)
        if count is not None:
            found.setdefault(count, sample.image)
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise DataError(
            f"{shown(first)} has {counted(one, 'channels')}, and {shown(second)} {other}; a "
            f"network reads {IMAGES_OF[axes]} with one number of channels: take the others out, or "
            "save them with as many"
        )


def check_kind(image: NDArray[np.generic], axes: int, channels: int, name: str = "") -> None:
    """Refuse another number of axes and, of signals and volumes, of channels than the network's.

    Args:
        image: (*size, channels).
        axes: that the network reads.
        channels: that the network reads.
        name: of the image, for messages.

    Raises:
        ShapeError: says what was got, what is expected, and what to do.

    Example:
        >>> check_kind(np.zeros((8, 9, 3)), 3, 1, "a.tif")
        Traceback (most recent call last):
        ...
        placewise.errors.ShapeError: 'a.tif': got an image (height, width), and the model reads ...
    """
    got, count = image.ndim - 1, image.shape[-1]
    where = f"{shown(name)}: " if name else ""
    if got != axes:
        raise ShapeError(
            f"{where}got {KINDS[got]} ({AXES[got]}), and the model reads {IMAGES_OF[axes]} "
            f"({AXES[axes]}): {SAVED[axes]}"
        )
    if axes != 2 and count != channels:
        table = "; in a table with decimal commas, put semicolons between the numbers"
        raise ShapeError(
            f"{where}got {counted(count, 'channels')}, and the model reads "
            f"{IMAGES_OF[axes]} with {channels}: save it with as many{table if axes == 1 else ''}"
        )
