"""From arrays of images and labels to class labels; what `npz` and `idx` share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.archives import MAX_BYTES
from placewise.errors import PlacewiseError
from placewise.formats._collect import MAX_NAMES, Collector
from placewise.labels import Arrays, ClassDataset, ClassSample
from placewise.labels.names import shown
from placewise.wording import natural

MAX_ARRAY_BYTES = MAX_BYTES
"""Most bytes of all arrays of a file, after unpacking."""

_GREY_OR_RGB = (1, 3)


@dataclass(frozen=True)
class Part:
    """Images of one split with their labels, as they are in the file.

    Attributes:
        name: what the images are called in front of their number.
        split: "train", "val", "test", or None.
        fields: names of the two arrays, for faults.
        images: the array of images.
        labels: the array of labels.
    """

    name: str
    split: str | None
    fields: tuple[str, str]
    images: NDArray[Any]
    labels: NDArray[Any]


@contextmanager
def guarded(collector: Collector, field: str) -> Iterator[None]:
    """Turn whatever a library raises on damaged bytes into a fault of this field, and stop."""
    try:
        yield
    except PlacewiseError:
        raise
    except Exception as error:  # numpy, zipfile, gzip and their codecs raise any kind
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        if "Object arrays" in reason:
            todo = "write names as text, e.g. with astype(str), and images as numbers"
            collector.fault(0, field, "it is an array of Python objects, which may hold code", todo)
            collector.stop()
        got = f"it is damaged and cannot be read ({reason})"
        collector.fault(0, field, got, "fetch it again, whole, or write it again")
        collector.stop()


def class_labels(
    collector: Collector, parts: Sequence[Part], names: Sequence[str] | None
) -> ClassDataset:
    """Labels of the parts, if nothing is wrong.

    Args:
        collector: takes the faults.
        parts: one for each split.
        names: the classes' names where the file has them; None: the labels name them.

    Raises:
        LabelError: all faults together.
    """
    arrays = {part.name: _images(collector, part) for part in parts}
    values = [_values(collector, part) for part in parts]
    if collector.faults:
        collector.stop()
    told = list(names) if names is not None else _told(values)
    index = {name: i for i, name in enumerate(told)}
    samples: list[ClassSample] = []
    for part, said in zip(parts, values, strict=True):
        size = (arrays[part.name].shape[1], arrays[part.name].shape[2])
        labels = [_label(value, index, names is not None) for value in said]
        _check_labels(collector, part, said, labels)
        samples += [
            ClassSample(Arrays.name(part.name, i), size, label, part.split)
            for i, label in enumerate(labels)
        ]
    if len(told) > MAX_NAMES:
        got = f"{len(told)} classes are named, the most is {MAX_NAMES}"
        collector.fault(0, parts[0].fields[1], got, "write one label for each image there")
    if collector.faults:
        collector.stop()
    collector.check_classes(told)
    return ClassDataset(collector.root, tuple(told), tuple(samples), collector.path, Arrays(arrays))


def _images(collector: Collector, part: Part) -> NDArray[Any]:
    """(count, height, width, 1 or 3) uint8, uint16, or float32 in 0..1."""
    values, field = part.images, part.fields[0]
    if values.ndim == 3:
        values = values[..., None]
    elif values.ndim == 4 and values.shape[3] not in _GREY_OR_RGB and values.shape[1] in (1, 3):
        values = values.transpose(0, 2, 3, 1)
    if values.ndim != 4 or values.shape[3] not in _GREY_OR_RGB or 0 in values.shape:
        got = f"the array has the shape {part.images.shape}"
        todo = "write (count, height, width), (count, height, width, 3) or (count, 3, height, "
        collector.fault(0, field, got, todo + "width), with at least one image")
        return np.zeros((1, 1, 1, 1), np.uint8)
    return _scaled(collector, values, field)


def _scaled(collector: Collector, values: NDArray[Any], field: str) -> NDArray[Any]:
    """Values that an image can have, as they are where possible."""
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype.kind not in "biuf":
        collector.fault(0, field, f"the array is of {values.dtype}", "write uint8 numbers")
        return values
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if not (low >= 0 and high <= 65535):
        got = f"the numbers reach from {low:g} to {high:g}"
        collector.fault(0, field, got, "write 0 to 255 (or 65535), or fractions from 0 to 1")
    elif values.dtype.kind in "iu":
        return values.astype(np.uint8 if high <= 255 else np.uint16)
    elif high <= 1:
        return values.astype(np.float32)
    else:
        scaled: NDArray[np.float32] = (values / (255 if high <= 255 else 65535)).astype(np.float32)
        return scaled
    return values


def _values(collector: Collector, part: Part) -> list[str]:
    """What the labels say of each image, as text."""
    labels, field = part.labels, part.fields[1]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(part.images),):
        got = f"the array has the shape {part.labels.shape}"
        todo = f"write one label for each of the {len(part.images)} images of {part.fields[0]}"
        collector.fault(0, field, got, todo)
    elif labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels % 1 == 0).all():
        return [str(int(value)) for value in labels]
    elif labels.dtype.kind not in "biuUS":
        collector.fault(0, field, f"the array is of {labels.dtype}", "write whole numbers or names")
    elif labels.dtype.kind == "S":
        return [value.decode("utf-8", errors="replace") for value in labels.tolist()]
    elif labels.dtype.kind == "b":
        return [str(int(value)) for value in labels.tolist()]
    else:
        return [str(value) for value in labels.tolist()]
    return []


def _told(values: Sequence[Sequence[str]]) -> list[str]:
    """The classes that the labels name, in natural order; −1 and nothing name none."""
    return sorted({value for part in values for value in part} - {"", "-1"}, key=natural)


def _label(value: str, index: Mapping[str, int], named: bool) -> int | None:
    """Number of a class; None where it is not labelled, −1 where it cannot be."""
    if value in ("", "-1"):
        return None
    if value in index:
        return index[value]
    return int(value) if named and value.isdecimal() and int(value) < len(index) else -1


def _check_labels(
    collector: Collector, part: Part, said: Sequence[str], labels: Sequence[int | None]
) -> None:
    """Refuse labels that are no class."""
    for number, (value, label) in enumerate(zip(said, labels, strict=True)):
        if label == -1:
            got = f"{shown(value)} is not one of the classes that the file names"
            collector.fault(0, f"{part.fields[1]}[{number}]", got, "name it, or correct the label")


def split_of(name: str) -> str | None:
    """The split that a name speaks of; `t10k` is MNIST's name of its test images.

    Example:
        >>> split_of("x_train"), split_of("t10k"), split_of("images")
        ('train', 'test', None)
    """
    words = ("train", "val", "test", "t10k")
    found = next((word for word in words if word in name.lower()), None)
    return "test" if found == "t10k" else found


def unique_name(split: str | None, path: Path) -> str:
    """What images of a split are called."""
    return split or path.name.partition(".")[0]
